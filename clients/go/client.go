package dsmstt

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"

	speechv1 "github.com/dsm-stt/dsm-stt/clients/go/gen/dsm_stt/speech/v1"
)

// A recording may have 64 MiB, which its answer never reaches.
const maxMessageBytes = 65 << 20

// Notices a connection that died in silence. The service allows pings every 5 s.
var keepAlive = keepalive.ClientParameters{Time: 30 * time.Second, Timeout: 10 * time.Second}

// Client is a connection to a service. It may be used by any number of goroutines; one is enough for a program, up to
// the service's limit of streams per connection (256 by default).
type Client struct {
	conn   *grpc.ClientConn
	stub   speechv1.SpeechServiceClient
	apiKey string
	retry  RetryPolicy
	// Tests count what it is asked for.
	sleep func(context.Context, time.Duration) error
}

// NewClient prepares a connection to target, host:port or any name that gRPC resolves. It is made with the first call.
// Without WithTLS, WithCAFile or WithTLSConfig it is in plain text.
func NewClient(target string, options ...Option) (*Client, error) {
	settings := settings{retry: DefaultRetryPolicy}
	for _, option := range options {
		if err := option(&settings); err != nil {
			return nil, err
		}
	}
	dialOptions := append([]grpc.DialOption{
		grpc.WithTransportCredentials(settings.transport()),
		grpc.WithKeepaliveParams(keepAlive),
		grpc.WithUserAgent("dsm-stt-go"),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxMessageBytes), grpc.MaxCallSendMsgSize(maxMessageBytes)),
	}, settings.dialOptions...)
	conn, err := grpc.NewClient(target, dialOptions...)
	if err != nil {
		return nil, toError(err, "")
	}
	stub := speechv1.NewSpeechServiceClient(conn)
	return &Client{conn: conn, stub: stub, apiKey: settings.apiKey, retry: settings.retry, sleep: sleep}, nil
}

// Close ends the connection and every call on it.
func (c *Client) Close() error {
	return c.conn.Close()
}

// outgoing adds what goes with every call: its id, and the key.
func (c *Client) outgoing(ctx context.Context, requestID string) context.Context {
	ctx = metadata.AppendToOutgoingContext(ctx, "x-request-id", requestID)
	if c.apiKey != "" {
		ctx = metadata.AppendToOutgoingContext(ctx, "x-api-key", c.apiKey)
	}
	return ctx
}

func newRequestID() string {
	var id [16]byte
	_, _ = rand.Read(id[:]) // never fails
	return hex.EncodeToString(id[:])
}

func plaintext() credentials.TransportCredentials {
	return insecure.NewCredentials()
}
