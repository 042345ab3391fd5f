package dsmstt_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	dsmstt "github.com/dsm-stt/dsm-stt/clients/go"
	"github.com/dsm-stt/dsm-stt/clients/go/internal/fakespeech"
)

var resuming = dsmstt.StreamConfig{Audio: linear16, Resume: &dsmstt.ResumeOptions{}}

var spoken = []int{3, 7, 11, 40, 44, 47, 50, 53, 56, 59, 90, 94}

func broken() error { return fakespeech.Refusal(codes.Unavailable, "WORKER_LOST", 0) }

// Wherever the connection breaks, and whether the model then hears a word a frame later or not.
func TestNoWordIsLostOrDoubledWhenTheConnectionBreaks(t *testing.T) {
	for _, shift := range []int{0, 1} {
		for breakAfter := 1; breakAfter < 100; breakAfter += 3 {
			t.Run(fmt.Sprintf("after %d frames, heard %d late", breakAfter, shift), func(t *testing.T) {
				first := &fakespeech.Hearing{BreakAfter: breakAfter, Broken: broken()}
				server := serve(t, &fakespeech.Server{Streams: streamOf(first, &fakespeech.Hearing{Shift: shift})})
				client := connect(t, server.Address)
				client.CountSleeps()
				stream := must(client.Stream(testContext(t), resuming))(t)
				sent := sendInBackground(stream, fakespeech.Say(100, spoken...))

				var texts []string
				for event := range stream.Events() {
					if result, ok := event.(dsmstt.ResultEvent); ok {
						texts = append(texts, result.Words[0].Text)
					}
					if ended, ok := event.(dsmstt.EndedEvent); ok {
						texts = append(texts, fmt.Sprintf("ended %v, %d", ended.AudioDuration, ended.Words))
					}
				}

				check(t, <-sent)
				check(t, stream.Err())
				var want []string
				for _, frame := range spoken {
					want = append(want, fmt.Sprintf("w%d", frame))
				}
				equal(t, texts, append(want, "ended 8s, 12"))
			})
		}
	}
}

func TestAConnectionThatIsCutIsReplaced(t *testing.T) {
	var server *fakespeech.Server
	cut := func(call fakespeech.Call) error {
		err := (&fakespeech.Hearing{BreakAfter: 30}).Serve(call)
		server.Stop()
		return err
	}
	server = serve(t, &fakespeech.Server{Streams: []func(fakespeech.Call) error{cut}})
	other := serve(t, &fakespeech.Server{Streams: streamOf(&fakespeech.Hearing{})})
	client := connect(t, "dsm-test:///speech", dsmstt.WithDialOptions(oneAfterTheOther(server.Address, other.Address)))
	client.CountSleeps()
	stream := must(client.Stream(testContext(t), resuming))(t)
	sent := sendInBackground(stream, fakespeech.Say(100, spoken...))

	equal(t, without(told(stream.Events()), "resumed"), append(wordsAt(spoken...), "ended 8s, 12 words"))
	check(t, <-sent)
}

func TestTurnsGoOnWhenTheConnectionBreaks(t *testing.T) {
	want := []string{"start 0", "w3@240ms", "w7@560ms", "end 0", "start 1", "w40@3.2s", "end 1", "ended 8s, 3 words"}
	for breakAfter := 1; breakAfter < 100; breakAfter += 2 {
		t.Run(fmt.Sprintf("after %d frames", breakAfter), func(t *testing.T) {
			first := &fakespeech.Hearing{BreakAfter: breakAfter, Broken: broken(), Turns: 12}
			server := serve(t, &fakespeech.Server{Streams: streamOf(first, &fakespeech.Hearing{Turns: 12})})
			client := connect(t, server.Address)
			client.CountSleeps()
			config := resuming
			config.Turns = &dsmstt.TurnOptions{}
			stream := must(client.Stream(testContext(t), config))(t)
			sent := sendInBackground(stream, fakespeech.Say(100, 3, 7, 40))

			equal(t, without(told(stream.Events()), "resumed"), want)
			check(t, <-sent)
		})
	}
}

func TestAFlushAndAnUpdateOutliveTheConnection(t *testing.T) {
	// The first connection ends without an answer to either.
	deaf := &fakespeech.Hearing{BreakAfter: 9, Broken: broken()}
	second := &fakespeech.Hearing{BreakAfter: 30, Broken: broken()}
	third := &fakespeech.Hearing{}
	server := serve(t, &fakespeech.Server{Streams: streamOf(deaf, second, third)})
	client := connect(t, server.Address)
	client.CountSleeps()
	ctx := testContext(t)
	stream := must(client.Stream(ctx, resuming))(t)

	check(t, stream.Send(fakespeech.Say(10, 8)))
	check(t, stream.Update(dsmstt.Update{ID: "u", Turns: &dsmstt.TurnOptions{MaxSilence: 3 * time.Second}}))
	check(t, stream.Flush(ctx))
	sent := sendInBackground(stream, fakespeech.Say(50, 20))

	equal(t, told(stream.Events()), []string{
		"resumed", "updated u", "w8@640ms", "flushed@800ms", "resumed", "w20@2.4s", "ended 4.8s, 2 words",
	})
	check(t, <-sent)
	if got := third.Config.GetTurns().GetMaxSilence().AsDuration(); got != 3*time.Second {
		t.Errorf("the third connection began with the options %v", third.Config.GetTurns())
	}
}

func TestTheBufferOfALongSilenceStaysSmall(t *testing.T) {
	hearing := &fakespeech.Hearing{}
	server := serve(t, &fakespeech.Server{Streams: streamOf(hearing)})
	config := resuming
	config.Resume = &dsmstt.ResumeOptions{Buffer: 20 * time.Second}
	stream := must(connect(t, server.Address).Stream(testContext(t), config))(t)
	// Nobody speaks for two minutes, so the service tells nothing by itself; the buffer would be full after 20 s.
	sent := sendInBackground(stream, fakespeech.Say(1500))

	equal(t, told(stream.Events()), []string{"ended 2m0s, 0 words"})
	check(t, <-sent)
}

func TestASessionThatGetsNowhereGivesUp(t *testing.T) {
	server := serve(t, &fakespeech.Server{Streams: streamOf(&fakespeech.Hearing{BreakAfter: 20, Broken: broken()})})
	client := connect(t, server.Address, dsmstt.WithRetry(dsmstt.RetryPolicy{MaxAttempts: 3, MaxBackoff: time.Second}))
	client.CountSleeps()
	stream := must(client.Stream(testContext(t), resuming))(t)
	_ = sendInBackground(stream, fakespeech.Say(100, spoken...))

	for range stream.Events() { //nolint:revive // to the end
	}
	if err := stream.Err(); !errors.Is(err, dsmstt.ErrWorkerLost) {
		t.Fatalf("got %v", err)
	}
	if calls := len(server.Calls()); calls > 5 {
		t.Errorf("made %d connections", calls)
	}
}

func TestWithoutResumeABrokenConnectionEndsTheSession(t *testing.T) {
	server := serve(t, &fakespeech.Server{Streams: streamOf(&fakespeech.Hearing{BreakAfter: 20, Broken: broken()})})
	stream := must(connect(t, server.Address).Stream(testContext(t), dsmstt.StreamConfig{Audio: linear16}))(t)
	_ = sendInBackground(stream, fakespeech.Say(100, spoken...))

	equal(t, told(stream.Events()), wordsAt(3, 7, 11))
	if err := stream.Err(); !errors.Is(err, dsmstt.ErrWorkerLost) {
		t.Fatalf("got %v", err)
	}
}

func TestWhatTheCallerDidWrongIsNotResumed(t *testing.T) {
	tooLong := fakespeech.Refusal(codes.OutOfRange, "MAX_DURATION", 0)
	server := serve(t, &fakespeech.Server{Streams: streamOf(&fakespeech.Hearing{BreakAfter: 20, Broken: tooLong})})
	stream := must(connect(t, server.Address).Stream(testContext(t), resuming))(t)
	_ = sendInBackground(stream, fakespeech.Say(100, spoken...))

	if contains(told(stream.Events()), "resumed") {
		t.Error("the session was resumed")
	}
	if err := stream.Err(); !errors.Is(err, dsmstt.ErrMaxDuration) {
		t.Fatalf("got %v", err)
	}
}
