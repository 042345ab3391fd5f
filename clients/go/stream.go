package dsmstt

import (
	"bytes"
	"context"
	"fmt"
	"time"

	speechv1 "github.com/dsm-stt/dsm-stt/clients/go/gen/dsm_stt/speech/v1"
)

const (
	// Events that may wait to be taken from Stream.Events; then the session waits.
	waitingEvents = 64
	// The service takes at most 1 MiB a message; smaller ones let it begin sooner.
	messageBytes = 32 << 10
)

// Stream is a session under way. Its methods may be called by any goroutine; what is sent keeps the order of the
// calls. Read Events until it is closed, or Close the stream: a session whose events nobody takes stands still.
type Stream struct {
	client    *Client
	requestID string
	ctx       context.Context
	cancel    context.CancelFunc
	config    *speechv1.RecognitionConfig
	resumable bool
	session   Session
	tape      *tape
	progress  progress
	flushes   flushes
	events    chan Event
	done      chan struct{}
	err       *Error
	// Where the present connection's audio begins.
	base time.Duration
}

// Stream opens a session and returns once the service has taken it. ctx bounds the session's whole life; when it ends,
// everything that belongs to the session ends.
func (c *Client) Stream(ctx context.Context, config StreamConfig) (*Stream, error) {
	if err := config.validate(); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	s := &Stream{
		client:    c,
		requestID: newRequestID(),
		ctx:       ctx,
		cancel:    cancel,
		config:    config.proto(),
		resumable: config.Resume != nil,
		tape:      newTape(config, ctx.Done()),
		flushes:   flushes{waiting: map[string]chan struct{}{}},
		events:    make(chan Event, waitingEvents),
		done:      make(chan struct{}),
	}
	first, session, err := s.connect(nil)
	if err != nil {
		cancel()
		return nil, err
	}
	s.session = session
	go s.run(first)
	return s, nil
}

// Session returns what the service said when it took the session.
func (s *Stream) Session() Session { return s.session }

// Events returns the session's events. The channel is closed when the session is over; see Err then.
func (s *Stream) Events() <-chan Event { return s.events }

// Err waits for the end of the session and returns why it ended: nil after an EndedEvent, otherwise an *Error.
func (s *Stream) Err() error {
	<-s.done
	if s.err == nil {
		return nil
	}
	return s.err
}

// Send sends audio in pieces of any size, and waits when the service is behind. The bytes may be reused afterwards.
func (s *Stream) Send(audio []byte) error {
	for len(audio) > 0 {
		piece := audio[:min(len(audio), messageBytes)]
		audio = audio[len(piece):]
		if err := s.add(s.ctx, audioRequest(bytes.Clone(piece))); err != nil {
			return err
		}
	}
	return nil
}

// Silence stands for silent audio that the caller does not send, up to 60 s.
func (s *Stream) Silence(duration time.Duration) error {
	return s.add(s.ctx, silenceRequest(duration))
}

// KeepAlive restarts the idle timeout.
func (s *Stream) KeepAlive() error {
	return s.add(s.ctx, keepAliveRequest())
}

// Update is a change of a running session. Nil fields stay as they are.
type Update struct {
	// ID is sent back in UpdatedEvent.
	ID string
	// Results replaces the result options; Interim cannot change.
	Results *ResultOptions
	// Turns replaces the turn options.
	Turns *TurnOptions
	// NoTurns turns TurnEvents off.
	NoTurns bool
}

// Update changes options behind the audio sent so far. UpdatedEvent tells when.
func (s *Stream) Update(update Update) error {
	request := &speechv1.Update{UpdateId: update.ID, Turns: update.Turns.proto()}
	if update.ID == probeID {
		return badConfig("Update.ID: %q is the client's own", probeID)
	}
	if update.Results != nil {
		request.Results = update.Results.proto()
	}
	if update.NoTurns {
		request.Turns = &speechv1.TurnOptions{}
	}
	return s.add(s.ctx, updateRequest(request))
}

// FlushOption changes what a flush does.
type FlushOption func(*speechv1.Flush)

// EndTurn lets a flush end the turn under way.
func EndTurn(flush *speechv1.Flush) { flush.EndTurn = true }

// ResetContext lets the model forget what it heard.
func ResetContext(flush *speechv1.Flush) { flush.ResetContext = true }

// Flush asks for every word of the audio sent so far and waits until they are in Events: when it returns, they and the
// FlushedEvent behind them wait there or have been taken. Somebody else must take events meanwhile, as at most 64 wait.
// ctx bounds the waiting.
func (s *Stream) Flush(ctx context.Context, options ...FlushOption) error {
	id, flushed := s.flushes.begin()
	defer s.flushes.end(id)
	flush := &speechv1.Flush{FlushId: id}
	for _, option := range options {
		option(flush)
	}
	if err := s.add(ctx, flushRequest(flush)); err != nil {
		return err
	}
	select {
	case <-flushed:
		return nil
	case <-ctx.Done():
		return toError(ctx.Err(), s.requestID)
	case <-s.done:
		return s.failure()
	}
}

// CloseSend ends the audio. The words still due follow, then EndedEvent.
func (s *Stream) CloseSend() error {
	return s.add(s.ctx, nil)
}

// Close ends the session at once, finished or not, and waits until nothing of it is left.
func (s *Stream) Close() error {
	s.cancel()
	<-s.done
	return nil
}

func (s *Stream) add(ctx context.Context, request *speechv1.StreamingRecognizeRequest) error {
	select {
	case <-s.done:
		return s.failure()
	default:
	}
	err := s.tape.add(ctx, request)
	if err != nil && s.ctx.Err() != nil {
		<-s.done
		return s.failure()
	}
	if err != nil {
		return toError(err, s.requestID)
	}
	return nil
}

// failure is what calls on a session get that is over.
func (s *Stream) failure() error {
	if s.err != nil {
		return s.err
	}
	return fmt.Errorf("the session is over: %w", ErrClosed)
}
