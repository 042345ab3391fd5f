package dsmstt_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"go.uber.org/goleak"

	dsmstt "github.com/dsm-stt/dsm-stt/clients/go"
	"github.com/dsm-stt/dsm-stt/clients/go/internal/fakespeech"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m)
}

var linear16 = dsmstt.AudioFormat{Encoding: dsmstt.Linear16, SampleRate: fakespeech.RateHertz}

func testContext(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func must[T any](value T, err error) func(*testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return value
	}
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func connect(t *testing.T, address string, options ...dsmstt.Option) *dsmstt.Client {
	t.Helper()
	client := must(dsmstt.NewClient(address, options...))(t)
	t.Cleanup(func() { _ = client.Close() })
	return client
}

func serve(t *testing.T, server *fakespeech.Server) *fakespeech.Server {
	t.Helper()
	check(t, server.Start())
	t.Cleanup(server.Stop)
	return server
}

// told is what a session told, in short: "w3@240ms" for a word, "start 0", "end 0" for turns.
func told(events <-chan dsmstt.Event) []string {
	var lines []string
	for event := range events {
		switch event := event.(type) {
		case dsmstt.ResultEvent:
			for _, word := range event.Words {
				lines = append(lines, fmt.Sprintf("%s@%v", word.Text, word.Start))
			}
		case dsmstt.TurnEvent:
			name := map[dsmstt.TurnKind]string{dsmstt.TurnStart: "start", dsmstt.TurnEnd: "end"}[event.Kind]
			lines = append(lines, fmt.Sprintf("%s %d", name, event.TurnIndex))
		case dsmstt.ResumedEvent:
			lines = append(lines, "resumed")
		case dsmstt.FlushedEvent:
			lines = append(lines, fmt.Sprintf("flushed@%v", event.Offset))
		case dsmstt.UpdatedEvent:
			lines = append(lines, "updated "+event.UpdateID)
		case dsmstt.EndedEvent:
			lines = append(lines, fmt.Sprintf("ended %v, %d words", event.AudioDuration, event.Words))
		}
	}
	return lines
}

func wordsAt(frames ...int) []string {
	var lines []string
	for _, frame := range frames {
		lines = append(lines, fmt.Sprintf("w%d@%v", frame, time.Duration(frame)*fakespeech.Frame))
	}
	return lines
}

func equal(t *testing.T, got, want []string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Fatalf("got  %q\nwant %q", got, want)
	}
}

func without(lines []string, unwanted string) []string {
	return slices.DeleteFunc(slices.Clone(lines), func(line string) bool { return line == unwanted })
}

// sendAll sends audio as a caller does, then closes.
func sendAll(stream *dsmstt.Stream, audio []byte) error {
	for piece := range slices.Chunk(audio, 777) {
		if err := stream.Send(piece); err != nil {
			return err
		}
	}
	return stream.CloseSend()
}
