package dsmstt

import (
	"context"
	"errors"
	"io"
	"sync"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	speechv1 "github.com/dsm-stt/dsm-stt/clients/go/gen/dsm_stt/speech/v1"
)

// connection is one call of StreamingRecognize that the service has taken; a session that resumes has several.
type connection struct {
	call   speechv1.SpeechService_StreamingRecognizeClient
	ctx    context.Context
	cancel context.CancelFunc
}

// connect opens a call, with retries, and returns once the service has taken it.
func (s *Stream) connect(resume *speechv1.Resume) (*connection, Session, error) {
	config := proto.CloneOf(s.config)
	config.Resume = resume
	var opened *connection
	var started *speechv1.StreamingRecognizeResponse
	err := s.client.retrying(s.ctx, s.requestID, func() (err error) {
		ctx, cancel := context.WithCancel(s.ctx)
		if opened, started, err = s.begin(ctx, config); err != nil {
			cancel()
			return err
		}
		opened.cancel = cancel
		return nil
	})
	if err != nil {
		return nil, Session{}, err
	}
	s.progress.advance(started.GetCursors())
	return opened, session(started.GetSessionStarted()), nil
}

func (s *Stream) begin(
	ctx context.Context, config *speechv1.RecognitionConfig,
) (*connection, *speechv1.StreamingRecognizeResponse, error) {
	call, err := s.client.stub.StreamingRecognize(s.client.outgoing(ctx, s.requestID))
	if err != nil {
		return nil, nil, err
	}
	// io.EOF means that the call is over; Recv then says why.
	if err := call.Send(configRequest(config)); err != nil && !errors.Is(err, io.EOF) {
		return nil, nil, err
	}
	response, err := call.Recv()
	if errors.Is(err, io.EOF) {
		return nil, nil, s.incomplete()
	}
	if err != nil {
		return nil, nil, err
	}
	if response.GetSessionStarted() == nil {
		message := "wanted session_started as the first response"
		return nil, nil, &Error{Code: codes.Internal, Message: message, RequestID: s.requestID}
	}
	return &connection{call: call, ctx: ctx}, response, nil
}

func (s *Stream) incomplete() *Error {
	message := "the stream ended before the transcript was complete"
	return &Error{Code: ErrIncomplete.Code, Reason: ErrIncomplete.Reason, Message: message, RequestID: s.requestID}
}

// run lives as long as the session: it holds one connection after the other.
func (s *Stream) run(current *connection) {
	defer close(s.done)
	defer close(s.events)
	defer s.cancel()
	// Connections one after the other that brought the session no further.
	fruitless := 0
	for {
		processed := s.progress.cursors.Processed
		failure := s.converse(current)
		if failure == nil {
			return
		}
		fruitless++
		if s.progress.cursors.Processed > processed {
			fruitless = 0
		}
		if current = s.resume(failure, fruitless); current == nil {
			return
		}
	}
}

// converse writes and reads until the connection ends; nil if the session has ended in good order.
func (s *Stream) converse(c *connection) *Error {
	var writer sync.WaitGroup
	writer.Add(1)
	go func() {
		defer writer.Done()
		s.write(c)
	}()
	defer writer.Wait()
	defer c.cancel()
	ended := false
	for {
		response, err := c.call.Recv()
		if errors.Is(err, io.EOF) && ended {
			return nil
		}
		if errors.Is(err, io.EOF) {
			return s.incomplete()
		}
		if err != nil {
			return toError(err, s.requestID)
		}
		if err := s.handle(response); err != nil {
			return toError(err, s.requestID)
		}
		ended = ended || response.GetSessionEnded() != nil
	}
}

func (s *Stream) write(c *connection) {
	for {
		request, err := s.tape.take(c.ctx)
		if err != nil {
			return
		}
		if request == nil {
			_ = c.call.CloseSend() // never fails
			return
		}
		if c.call.Send(request) != nil {
			return // Recv says why
		}
	}
}

// resume opens another connection for a session whose connection broke; nil if the session is over, with s.err set.
func (s *Stream) resume(cause *Error, fruitless int) *connection {
	s.err = cause
	if !s.resumable || s.ctx.Err() != nil || !cause.resumable() {
		return nil
	}
	if fruitless > 0 {
		// An attempt of its own, which the policy bounds, although a connection was made in between.
		delay, again := s.client.retry.delay(fruitless, &Error{Code: codes.Unavailable, RetryAfter: cause.RetryAfter})
		if !again || s.client.sleep(s.ctx, delay) != nil {
			return nil
		}
	}
	s.base = s.tape.rewind(s.progress.keepFrom())
	resumed, session, err := s.connect(&speechv1.Resume{
		AudioOffset: durationpb.New(s.base),
		WordsFrom:   durationpb.New(max(s.base, s.progress.wordsFrom())),
		TurnIndex:   uint32(s.progress.turn),
	})
	if err != nil {
		s.err = toError(err, s.requestID)
		return nil
	}
	s.progress.resume()
	if s.emit(ResumedEvent{Cursors: s.progress.cursors, Session: session, Cause: cause}) != nil {
		resumed.cancel()
		return nil
	}
	s.err = nil
	return resumed
}
