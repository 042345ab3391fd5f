package dsmstt

import (
	"context"
	"errors"
	"fmt"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Errors to compare with: errors.Is(err, dsmstt.ErrNoCapacity). What each means is in speech.proto.
var (
	ErrBadConfig        = &Error{Code: codes.InvalidArgument, Reason: "BAD_CONFIG"}
	ErrMalformedAudio   = &Error{Code: codes.InvalidArgument, Reason: "MALFORMED_AUDIO"}
	ErrUnknownModel     = &Error{Code: codes.NotFound, Reason: "UNKNOWN_MODEL"}
	ErrAPIKeyInvalid    = &Error{Code: codes.Unauthenticated, Reason: "API_KEY_INVALID"}
	ErrAPIKeyNotAllowed = &Error{Code: codes.PermissionDenied, Reason: "API_KEY_NOT_ALLOWED"}
	ErrNoCapacity       = &Error{Code: codes.ResourceExhausted, Reason: "NO_CAPACITY"}
	ErrQuotaExceeded    = &Error{Code: codes.ResourceExhausted, Reason: "QUOTA_EXCEEDED"}
	ErrWorkerLost       = &Error{Code: codes.Unavailable, Reason: "WORKER_LOST"}
	ErrDraining         = &Error{Code: codes.Unavailable, Reason: "DRAINING"}
	ErrIdleTimeout      = &Error{Code: codes.Aborted, Reason: "IDLE_TIMEOUT"}
	ErrMaxDuration      = &Error{Code: codes.OutOfRange, Reason: "MAX_DURATION"}
	// ErrIncomplete is a stream that ended in good order before its transcript was complete.
	ErrIncomplete = &Error{Code: codes.DataLoss, Reason: "INCOMPLETE"}
	// ErrClosed is the use of a stream after CloseSend, Close or its end.
	ErrClosed = &Error{Code: codes.FailedPrecondition, Reason: "CLOSED"}
)

const errorDomain = "dsm-stt"

// Error is why a call failed.
type Error struct {
	Code codes.Code
	// Reason is stable, from speech.proto; empty where the failure is not the service's own word, such as a connection
	// that cannot be made.
	Reason  string
	Message string
	// RetryAfter is when the service asked to be tried again; 0 if it did not.
	RetryAfter time.Duration
	// RequestID names the call in the service's logs.
	RequestID string
	cause     error
}

func (e *Error) Error() string {
	text := fmt.Sprintf("dsm-stt: %s", e.Code)
	if e.Reason != "" {
		text += " " + e.Reason
	}
	if e.Message != "" {
		text += ": " + e.Message
	}
	if e.RequestID != "" {
		text += " (request " + e.RequestID + ")"
	}
	return text
}

// Is reports whether target is an Error of the same code and reason.
func (e *Error) Is(target error) bool {
	other, ok := target.(*Error)
	return ok && e.Code == other.Code && e.Reason == other.Reason
}

// Unwrap returns context.Canceled or context.DeadlineExceeded where one of them ended the call.
func (e *Error) Unwrap() error {
	return e.cause
}

// GRPCStatus lets status.FromError understand an Error.
func (e *Error) GRPCStatus() *status.Status {
	return status.New(e.Code, e.Message)
}

// retryable says whether the same call may succeed later: the service is not there, or it said when to come again.
func (e *Error) retryable() bool {
	return e.Code == codes.Unavailable || (e.Code == codes.ResourceExhausted && e.RetryAfter > 0)
}

// resumable says whether a session whose context goes on may go on over another connection. Servers that stop cancel
// calls.
func (e *Error) resumable() bool {
	return e.retryable() || e.Is(ErrIncomplete) || e.Code == codes.Canceled
}

// toError makes an Error of what gRPC or a context returned.
func toError(err error, requestID string) *Error {
	var known *Error
	if errors.As(err, &known) {
		return known
	}
	state := status.FromContextError(err)
	if fromGRPC, ok := status.FromError(err); ok {
		state = fromGRPC
	}
	result := &Error{Code: state.Code(), Message: state.Message(), RequestID: requestID}
	switch state.Code() {
	case codes.Canceled:
		result.cause = context.Canceled
	case codes.DeadlineExceeded:
		result.cause = context.DeadlineExceeded
	}
	for _, detail := range state.Details() {
		switch detail := detail.(type) {
		case *errdetails.ErrorInfo:
			if detail.GetDomain() == errorDomain {
				result.Reason = detail.GetReason()
			}
		case *errdetails.RetryInfo:
			result.RetryAfter = detail.GetRetryDelay().AsDuration()
		}
	}
	return result
}
