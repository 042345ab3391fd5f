// Package fakespeech is a SpeechService for tests that does what its script says.
package fakespeech

import (
	"context"
	"net"
	"sync"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/protoadapt"
	"google.golang.org/protobuf/types/known/durationpb"

	speechv1 "github.com/dsm-stt/dsm-stt/clients/go/gen/dsm_stt/speech/v1"
)

// Call is one StreamingRecognize call on the service's side.
type Call = speechv1.SpeechService_StreamingRecognizeServer

// Server answers each call with the next of its scripts; the last one stays.
type Server struct {
	speechv1.UnimplementedSpeechServiceServer
	Address string
	// Streams are the scripts of StreamingRecognize, Lists those of ListModels.
	Streams []func(Call) error
	Lists   []func() (*speechv1.ListModelsResponse, error)

	mutex    sync.Mutex
	server   *grpc.Server
	streams  int
	lists    int
	metadata []metadata.MD
}

// Start listens on a free port of loopback until Stop.
func (s *Server) Start() error {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	s.Address = listener.Addr().String()
	s.server = grpc.NewServer()
	speechv1.RegisterSpeechServiceServer(s.server, s)
	go func() { _ = s.server.Serve(listener) }()
	return nil
}

// Stop ends every connection at once.
func (s *Server) Stop() { s.server.Stop() }

// Calls returns the metadata of every call so far.
func (s *Server) Calls() []metadata.MD {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	return append([]metadata.MD(nil), s.metadata...)
}

// StreamingRecognize runs the next script.
func (s *Server) StreamingRecognize(call Call) error {
	s.mutex.Lock()
	script := s.Streams[min(s.streams, len(s.Streams)-1)]
	s.streams++
	s.note(call.Context())
	s.mutex.Unlock()
	return script(call)
}

// ListModels runs the next script.
func (s *Server) ListModels(ctx context.Context, _ *speechv1.ListModelsRequest) (*speechv1.ListModelsResponse, error) {
	s.mutex.Lock()
	script := s.Lists[min(s.lists, len(s.Lists)-1)]
	s.lists++
	s.note(ctx)
	s.mutex.Unlock()
	return script()
}

func (s *Server) note(ctx context.Context) {
	md, _ := metadata.FromIncomingContext(ctx)
	s.metadata = append(s.metadata, md)
}

// Refusal is a status as the service makes it; retryAfter 0 names no delay.
func Refusal(code codes.Code, reason string, retryAfter time.Duration) error {
	details := []protoadapt.MessageV1{&errdetails.ErrorInfo{Reason: reason, Domain: "dsm-stt"}}
	if retryAfter > 0 {
		details = append(details, &errdetails.RetryInfo{RetryDelay: durationpb.New(retryAfter)})
	}
	state, err := status.New(code, "as the script says").WithDetails(details...)
	if err != nil {
		return err
	}
	return state.Err()
}
