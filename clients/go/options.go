package dsmstt

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
)

// Option changes how a Client connects.
type Option func(*settings) error

type settings struct {
	tls         *tls.Config
	apiKey      string
	retry       RetryPolicy
	dialOptions []grpc.DialOption
}

// WithTLS encrypts the connection and checks the service's certificate against the system's authorities.
func WithTLS() Option {
	return WithTLSConfig(&tls.Config{MinVersion: tls.VersionTLS12})
}

// WithCAFile encrypts the connection and checks the service's certificate against the authorities in a PEM file.
func WithCAFile(path string) Option {
	return func(s *settings) error {
		pem, err := os.ReadFile(path)
		if err != nil {
			return fmt.Errorf("dsmstt: CA file: %w", err)
		}
		roots := x509.NewCertPool()
		if !roots.AppendCertsFromPEM(pem) {
			return fmt.Errorf("dsmstt: CA file %s: wanted certificates in PEM, found none", path)
		}
		s.tls = &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots}
		return nil
	}
}

// WithTLSConfig encrypts the connection as the configuration says.
func WithTLSConfig(config *tls.Config) Option {
	return func(s *settings) error {
		s.tls = config
		return nil
	}
}

// WithAPIKey sends a key with every call. Without TLS it can be read on its way.
func WithAPIKey(key string) Option {
	return func(s *settings) error {
		s.apiKey = key
		return nil
	}
}

// WithRetry replaces DefaultRetryPolicy.
func WithRetry(policy RetryPolicy) Option {
	return func(s *settings) error {
		if policy.MaxAttempts < 1 || policy.InitialBackoff < 0 || policy.MaxBackoff < policy.InitialBackoff {
			return fmt.Errorf("dsmstt: retry policy: wanted at least 1 attempt and 0 <= InitialBackoff <= MaxBackoff, got %+v", policy)
		}
		s.retry = policy
		return nil
	}
}

// WithDialOptions adds options of gRPC: proxies, interceptors, balancing. They win over the client's own.
func WithDialOptions(options ...grpc.DialOption) Option {
	return func(s *settings) error {
		s.dialOptions = append(s.dialOptions, options...)
		return nil
	}
}

func (s *settings) transport() credentials.TransportCredentials {
	if s.tls == nil {
		return plaintext()
	}
	return credentials.NewTLS(s.tls)
}
