//go:build service

package dsmstt_test

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	dsmstt "github.com/dsm-stt/dsm-stt/clients/go"
	"github.com/dsm-stt/dsm-stt/clients/go/internal/wav"
)

// A frame is 80 ms; the model hears a beginning within one of it.
const startTolerance = 200 * time.Millisecond

func setting(t *testing.T, name string) string {
	t.Helper()
	value := os.Getenv(name)
	if value == "" {
		t.Fatalf("%s is not set: run these tests with `make client-go`, which starts the service", name)
	}
	return value
}

func sample(t *testing.T, name string) []byte {
	t.Helper()
	return must(os.ReadFile(filepath.Join(setting(t, "DSM_TEST_SAMPLES"), name)))(t)
}

type reference struct {
	File  string
	Words []struct {
		Word   string
		StartS float64 `json:"start_s"`
	}
}

func said(t *testing.T, name string) reference {
	t.Helper()
	var references []reference
	check(t, json.Unmarshal(sample(t, "references.json"), &references))
	for _, reference := range references {
		if reference.File == name {
			return reference
		}
	}
	t.Fatalf("references.json has no %s", name)
	return reference{}
}

func checkWords(t *testing.T, heard []dsmstt.Word, name string) {
	t.Helper()
	want := said(t, name).Words
	if len(heard) != len(want) {
		t.Fatalf("heard %v, said was %v", heard, want)
	}
	for index, word := range heard {
		off := word.Start - time.Duration(want[index].StartS*float64(time.Second))
		if word.Text != want[index].Word || off.Abs() > startTolerance || word.End <= word.Start {
			t.Errorf("heard %v, said was %v", word, want[index])
		}
	}
}

func open(t *testing.T) *dsmstt.Client {
	t.Helper()
	return connect(t, setting(t, "DSM_TEST_ADDRESS"))
}

func secure(t *testing.T, options ...dsmstt.Option) *dsmstt.Client {
	t.Helper()
	options = append([]dsmstt.Option{
		dsmstt.WithCAFile(setting(t, "DSM_TEST_CA_FILE")), dsmstt.WithAPIKey(setting(t, "DSM_TEST_API_KEY")),
	}, options...)
	return connect(t, setting(t, "DSM_TEST_SECURE_ADDRESS"), options...)
}

func sampleConfig(t *testing.T, name string) (dsmstt.StreamConfig, []byte) {
	t.Helper()
	recording := must(wav.Parse(sample(t, name)))(t)
	format := dsmstt.AudioFormat{Encoding: dsmstt.Linear16, SampleRate: recording.SampleRate, Channels: recording.Channels}
	return dsmstt.StreamConfig{Audio: format}, recording.Samples
}

func finalWords(events <-chan dsmstt.Event) []dsmstt.Word {
	var heard []dsmstt.Word
	for event := range events {
		if result, ok := event.(dsmstt.ResultEvent); ok && result.Final {
			heard = append(heard, result.Words...)
		}
	}
	return heard
}

func TestModelsAreListed(t *testing.T) {
	models := must(open(t).ListModels(testContext(t)))(t)
	if len(models) != 1 || models[0].Name != "dsm-tiny-en" || !models[0].Trained || models[0].SlotsTotal != 4 {
		t.Fatalf("got %+v", models)
	}
}

func TestARecordingIsTranscribed(t *testing.T) {
	for _, name := range []string{"telephone.wav", "months.wav"} {
		transcript := must(open(t).Recognize(testContext(t), sample(t, name), dsmstt.RecognizeConfig{}))(t)
		checkWords(t, transcript.Words, name)
		var texts []string
		for _, word := range transcript.Words {
			texts = append(texts, word.Text)
		}
		if transcript.Text != strings.Join(texts, " ") {
			t.Errorf("got %q", transcript.Text)
		}
	}
}

func TestAStreamTranscribesWithTurnsPausesAndAFlush(t *testing.T) {
	ctx := testContext(t)
	config, audio := sampleConfig(t, "months.wav")
	config.Turns = &dsmstt.TurnOptions{}
	config.Results = dsmstt.ResultOptions{Interim: true}
	client := open(t)
	if models := must(client.ListModels(ctx))(t); len(models[0].PauseHorizons) > 0 {
		config.Results.VADInterval = 400 * time.Millisecond
	}
	stream := must(client.Stream(ctx, config))(t)
	flushed := make(chan error, 1)
	go func() {
		err := stream.Send(audio)
		if err == nil {
			err = stream.Flush(ctx, dsmstt.EndTurn)
		}
		flushed <- errors.Join(err, stream.CloseSend())
	}()

	var heard []dsmstt.Word
	var kinds []string
	for event := range stream.Events() {
		switch event := event.(type) {
		case dsmstt.ResultEvent:
			if event.Final {
				heard = append(heard, event.Words...)
			}
		case dsmstt.TurnEvent:
			kinds = append(kinds, map[dsmstt.TurnKind]string{dsmstt.TurnStart: "start", dsmstt.TurnEnd: "end"}[event.Kind])
		case dsmstt.FlushedEvent:
			kinds = append(kinds, "flushed")
			checkWords(t, heard, "months.wav")
		case dsmstt.EndedEvent:
			kinds = append(kinds, "ended")
		}
	}

	check(t, <-flushed)
	check(t, stream.Err())
	if kinds[0] != "start" || !slices.Equal(kinds[len(kinds)-3:], []string{"end", "flushed", "ended"}) {
		t.Errorf("got %q", kinds)
	}
}

func TestAResumableStreamTranscribesAsAnyOther(t *testing.T) {
	config, audio := sampleConfig(t, "telephone.wav")
	config.Resume = &dsmstt.ResumeOptions{}
	stream := must(open(t).Stream(testContext(t), config))(t)
	sent := sendInBackground(stream, audio)

	checkWords(t, finalWords(stream.Events()), "telephone.wav")
	check(t, <-sent)
}

// A process that is killed says nothing: its connections are reset, and the next one is to another gateway.
func TestASessionOutlivesAGatewayThatIsKilled(t *testing.T) {
	config, audio := sampleConfig(t, "telephone.wav")
	config.Resume = &dsmstt.ResumeOptions{}
	gateways := oneAfterTheOther(setting(t, "DSM_TEST_MORTAL_ADDRESS"), setting(t, "DSM_TEST_ADDRESS"))
	client := connect(t, "dsm-test:///speech", dsmstt.WithDialOptions(gateways))
	stream := must(client.Stream(testContext(t), config))(t)

	// Four of six words have been said by then.
	middle := 5 * config.Audio.SampleRate * 2
	killed := make(chan struct{})
	sent := make(chan error, 1)
	go func() {
		err := stream.Send(audio[:middle])
		<-killed
		sent <- errors.Join(err, stream.Send(audio[middle:]), stream.CloseSend())
	}()

	var heard []dsmstt.Word
	resumed := 0
	for event := range stream.Events() {
		switch event := event.(type) {
		case dsmstt.ResultEvent:
			before := len(heard)
			heard = append(heard, event.Words...)
			if before < 3 && len(heard) >= 3 {
				kill(t, "DSM_TEST_MORTAL_PID")
				close(killed)
			}
		case dsmstt.ResumedEvent:
			resumed++
		}
	}

	check(t, stream.Err())
	check(t, <-sent)
	checkWords(t, heard, "telephone.wav")
	if resumed != 1 {
		t.Errorf("resumed %d times", resumed)
	}
}

func kill(t *testing.T, name string) {
	t.Helper()
	process := must(os.FindProcess(must(strconv.Atoi(setting(t, name)))(t)))(t)
	check(t, process.Kill())
}

func TestTLSAndAKeyOpenTheDoor(t *testing.T) {
	transcript := must(secure(t).Recognize(testContext(t), sample(t, "telephone.wav"), dsmstt.RecognizeConfig{}))(t)
	checkWords(t, transcript.Words, "telephone.wav")
}

func TestWhatTheServiceRefusesIsTold(t *testing.T) {
	ctx := testContext(t)
	once := dsmstt.WithRetry(dsmstt.RetryPolicy{MaxAttempts: 1})
	config, _ := sampleConfig(t, "telephone.wav")
	refusals := map[string]struct {
		client *dsmstt.Client
		change func(*dsmstt.StreamConfig)
		want   *dsmstt.Error
	}{
		"a wrong key":   {secure(t, dsmstt.WithAPIKey("dsm_wrong")), func(*dsmstt.StreamConfig) {}, dsmstt.ErrAPIKeyInvalid},
		"an odd rate":   {open(t), func(c *dsmstt.StreamConfig) { c.Audio.SampleRate = 7 }, dsmstt.ErrBadConfig},
		"a model":       {open(t), func(c *dsmstt.StreamConfig) { c.Model = "no such" }, dsmstt.ErrUnknownModel},
		"no TLS at all": {connect(t, setting(t, "DSM_TEST_SECURE_ADDRESS"), once), func(*dsmstt.StreamConfig) {}, &dsmstt.Error{Code: codes.Unavailable}},
	}
	for name, refusal := range refusals {
		t.Run(name, func(t *testing.T) {
			config := config
			refusal.change(&config)
			_, err := refusal.client.Stream(ctx, config)
			var failure *dsmstt.Error
			if !errors.Is(err, refusal.want) || !errors.As(err, &failure) || failure.RequestID == "" {
				t.Fatalf("got %v", err)
			}
		})
	}
}

func TestASlotThatIsTakenIsWaitedForAsTheServiceSays(t *testing.T) {
	ctx := testContext(t)
	config, audio := sampleConfig(t, "telephone.wav")
	holder := must(secure(t).Stream(ctx, config))(t)

	_, err := secure(t, dsmstt.WithRetry(dsmstt.RetryPolicy{MaxAttempts: 1})).Stream(ctx, config)
	var failure *dsmstt.Error
	if !errors.Is(err, dsmstt.ErrNoCapacity) || !errors.As(err, &failure) || failure.RetryAfter <= 0 {
		t.Fatalf("got %v", err)
	}

	// Refused the first time, it holds its slot until then; cancelled, it frees it.
	patient := secure(t)
	patient.BeforeSleep(func(delay time.Duration) {
		if delay < failure.RetryAfter/2 {
			t.Errorf("waits %v, asked for about %v", delay, failure.RetryAfter)
		}
		_ = holder.Close()
	})
	stream := must(patient.Stream(ctx, config))(t)
	sent := sendInBackground(stream, audio)
	checkWords(t, finalWords(stream.Events()), "telephone.wav")
	check(t, <-sent)
	if err := holder.Err(); !errors.Is(err, context.Canceled) {
		t.Errorf("the first session ended with %v", err)
	}
}

func TestADeadlineEndsAStream(t *testing.T) {
	config, _ := sampleConfig(t, "telephone.wav")
	ctx, cancel := context.WithTimeout(testContext(t), 2*time.Second)
	defer cancel()
	stream := must(open(t).Stream(ctx, config))(t)

	if heard := finalWords(stream.Events()); len(heard) != 0 {
		t.Errorf("heard %v", heard)
	}
	if err := stream.Err(); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("got %v", err)
	}
}
