package dsmstt_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	dsmstt "github.com/dsm-stt/dsm-stt/clients/go"
	"github.com/dsm-stt/dsm-stt/clients/go/internal/fakespeech"
)

func streamOf(hearings ...*fakespeech.Hearing) []func(fakespeech.Call) error {
	var scripts []func(fakespeech.Call) error
	for _, hearing := range hearings {
		scripts = append(scripts, hearing.Serve)
	}
	return scripts
}

func refused(code codes.Code, reason string, retryAfter time.Duration) func(fakespeech.Call) error {
	return func(fakespeech.Call) error { return fakespeech.Refusal(code, reason, retryAfter) }
}

func TestAStreamTellsWordsAndItsEnd(t *testing.T) {
	server := serve(t, &fakespeech.Server{Streams: streamOf(&fakespeech.Hearing{})})
	stream := must(connect(t, server.Address).Stream(testContext(t), dsmstt.StreamConfig{Audio: linear16}))(t)

	check(t, sendAll(stream, fakespeech.Say(20, 3, 7)))

	equal(t, told(stream.Events()), append(wordsAt(3, 7), "ended 1.6s, 2 words"))
	check(t, stream.Err())
	if err := stream.Send([]byte{0, 0}); !errors.Is(err, dsmstt.ErrClosed) {
		t.Errorf("got %v from a stream that is over", err)
	}
}

func TestASessionThatTheServiceRefusesForNowStartsLater(t *testing.T) {
	server := serve(t, &fakespeech.Server{Streams: append([]func(fakespeech.Call) error{
		refused(codes.Unavailable, "WORKER_LOST", 300*time.Millisecond),
		refused(codes.ResourceExhausted, "NO_CAPACITY", 400*time.Millisecond),
	}, streamOf(&fakespeech.Hearing{})...)})
	client := connect(t, server.Address)
	slept := client.CountSleeps()

	stream := must(client.Stream(testContext(t), dsmstt.StreamConfig{Audio: linear16}))(t)
	check(t, sendAll(stream, fakespeech.Say(10, 2)))

	equal(t, told(stream.Events()), append(wordsAt(2), "ended 800ms, 1 words"))
	if len(*slept) != 2 || (*slept)[0] < 300*time.Millisecond || (*slept)[1] < 400*time.Millisecond {
		t.Errorf("waited %v", *slept)
	}
}

func TestAFlushReturnsBehindItsWords(t *testing.T) {
	server := serve(t, &fakespeech.Server{Streams: streamOf(&fakespeech.Hearing{})})
	ctx := testContext(t)
	stream := must(connect(t, server.Address).Stream(ctx, dsmstt.StreamConfig{Audio: linear16}))(t)

	check(t, stream.Send(fakespeech.Say(5, 4)))
	check(t, stream.Flush(ctx, dsmstt.EndTurn, dsmstt.ResetContext))
	check(t, stream.Update(dsmstt.Update{ID: "u", NoTurns: true}))
	check(t, stream.KeepAlive())
	check(t, stream.Silence(5*fakespeech.Frame))
	check(t, stream.CloseSend())

	equal(t, told(stream.Events()), append(wordsAt(4), "flushed@400ms", "updated u", "ended 800ms, 1 words"))
}

func TestAStreamWithoutItsEndIsIncomplete(t *testing.T) {
	server := serve(t, &fakespeech.Server{Streams: streamOf(&fakespeech.Hearing{BreakAfter: 2})})
	stream := must(connect(t, server.Address).Stream(testContext(t), dsmstt.StreamConfig{Audio: linear16}))(t)

	_ = sendAll(stream, fakespeech.Say(5))

	equal(t, told(stream.Events()), nil)
	if err := stream.Err(); !errors.Is(err, dsmstt.ErrIncomplete) {
		t.Fatalf("got %v", err)
	}
}

func TestTheEndOfTheContextEndsEverything(t *testing.T) {
	server := serve(t, &fakespeech.Server{Streams: streamOf(&fakespeech.Hearing{})})
	ctx, cancel := context.WithCancel(context.Background())
	stream := must(connect(t, server.Address).Stream(ctx, dsmstt.StreamConfig{Audio: linear16}))(t)

	// More words than may wait, and nobody takes them.
	var frames []int
	for frame := 1; frame < 200; frame++ {
		frames = append(frames, frame)
	}
	check(t, stream.Send(fakespeech.Say(200, frames...)[:64_000]))
	cancel()

	if err := stream.Err(); !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v", err)
	}
	for _, err := range []error{stream.Send([]byte{0, 0}), stream.Flush(context.Background()), stream.CloseSend()} {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
	}
}

func TestAStreamThatIsClosedEarlyLeavesNothing(t *testing.T) {
	server := serve(t, &fakespeech.Server{Streams: streamOf(&fakespeech.Hearing{})})
	stream := must(connect(t, server.Address).Stream(testContext(t), dsmstt.StreamConfig{Audio: linear16}))(t)

	check(t, stream.Send(fakespeech.Say(5)))
	check(t, stream.Close())

	if err := stream.Err(); !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v", err)
	}
	// TestMain looks for goroutines.
}

func TestAFlushGivesUpWithItsContext(t *testing.T) {
	silent := func(call fakespeech.Call) error {
		err := (&fakespeech.Hearing{BreakAfter: 1}).Serve(call)
		<-call.Context().Done()
		return err
	}
	server := serve(t, &fakespeech.Server{Streams: []func(fakespeech.Call) error{silent}})
	stream := must(connect(t, server.Address).Stream(testContext(t), dsmstt.StreamConfig{Audio: linear16}))(t)
	defer func() { _ = stream.Close() }()
	check(t, stream.Send(fakespeech.Say(5)))
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()

	if err := stream.Flush(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("got %v", err)
	}
}

func TestAConfigThatCannotResumeIsRefused(t *testing.T) {
	client := connect(t, "127.0.0.1:1")
	for name, config := range map[string]dsmstt.StreamConfig{
		"an encoding whose bytes say nothing of time": {Audio: dsmstt.AudioFormat{Encoding: dsmstt.OggOpus}, Resume: &dsmstt.ResumeOptions{}},
		"a buffer that is too short":                  {Audio: linear16, Resume: &dsmstt.ResumeOptions{Buffer: time.Second}},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := client.Stream(testContext(t), config); !errors.Is(err, dsmstt.ErrBadConfig) {
				t.Fatalf("got %v", err)
			}
		})
	}
}

// sendInBackground leaves the test's own goroutine to take events.
func sendInBackground(stream *dsmstt.Stream, audio []byte) <-chan error {
	sent := make(chan error, 1)
	go func() { sent <- sendAll(stream, audio) }()
	return sent
}

func contains(lines []string, line string) bool { return slices.Contains(lines, line) }
