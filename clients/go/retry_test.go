package dsmstt_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	dsmstt "github.com/dsm-stt/dsm-stt/clients/go"
	speechv1 "github.com/dsm-stt/dsm-stt/clients/go/gen/dsm_stt/speech/v1"
	"github.com/dsm-stt/dsm-stt/clients/go/internal/fakespeech"
)

type listing = func() (*speechv1.ListModelsResponse, error)

func refusing(code codes.Code, reason string, retryAfter time.Duration) listing {
	return func() (*speechv1.ListModelsResponse, error) {
		return nil, fakespeech.Refusal(code, reason, retryAfter)
	}
}

func listingOne() (*speechv1.ListModelsResponse, error) {
	return &speechv1.ListModelsResponse{Models: []*speechv1.Model{{Name: "one", IsDefault: true}}}, nil
}

func TestACallIsTriedAgainWhenTheServiceSaid(t *testing.T) {
	server := serve(t, &fakespeech.Server{Lists: []listing{
		refusing(codes.Unavailable, "DRAINING", 700*time.Millisecond),
		refusing(codes.ResourceExhausted, "NO_CAPACITY", 2*time.Second),
		listingOne,
	}})
	client := connect(t, server.Address, dsmstt.WithAPIKey("secret"))
	slept := client.CountSleeps()

	models := must(client.ListModels(testContext(t)))(t)

	if len(models) != 1 || models[0].Name != "one" || !models[0].Default {
		t.Fatalf("got %+v", models)
	}
	for index, asked := range []time.Duration{700 * time.Millisecond, 2 * time.Second} {
		if waited := (*slept)[index]; waited < asked || waited > asked*6/5 {
			t.Errorf("attempt %d: waited %v, asked for %v", index+1, waited, asked)
		}
	}
	calls := server.Calls()
	if len(calls) != 3 || calls[2].Get("x-api-key")[0] != "secret" {
		t.Fatalf("got %d calls, the last with %v", len(calls), calls[2])
	}
	if first, last := calls[0].Get("x-request-id"), calls[2].Get("x-request-id"); first[0] != last[0] {
		t.Errorf("attempts of one call have the ids %v and %v", first, last)
	}
}

func TestAttemptsAreBounded(t *testing.T) {
	server := serve(t, &fakespeech.Server{Lists: []listing{refusing(codes.Unavailable, "DRAINING", 0)}})
	client := connect(t, server.Address, dsmstt.WithRetry(dsmstt.RetryPolicy{
		MaxAttempts: 4, InitialBackoff: 100 * time.Millisecond, MaxBackoff: 150 * time.Millisecond,
	}))
	slept := client.CountSleeps()

	_, err := client.ListModels(testContext(t))

	if !errors.Is(err, dsmstt.ErrDraining) {
		t.Fatalf("got %v", err)
	}
	if len(*slept) != 3 {
		t.Fatalf("waited %v", *slept)
	}
	for index, most := range []time.Duration{100, 150, 150} {
		if most *= time.Millisecond; (*slept)[index] > most || (*slept)[index] < most/2 {
			t.Errorf("attempt %d: waited %v, wanted half to all of %v", index+1, (*slept)[index], most)
		}
	}
}

func TestWhatWillNotSucceedIsNotTriedAgain(t *testing.T) {
	for name, refusal := range map[string]listing{
		"a wrong key":                     refusing(codes.Unauthenticated, "API_KEY_INVALID", 0),
		"a quota without a delay":         refusing(codes.ResourceExhausted, "QUOTA_EXCEEDED", 0),
		"a delay longer than is waited":   refusing(codes.ResourceExhausted, "NO_CAPACITY", time.Hour),
		"a delay longer than the context": refusing(codes.ResourceExhausted, "NO_CAPACITY", 9*time.Second),
	} {
		t.Run(name, func(t *testing.T) {
			server := serve(t, &fakespeech.Server{Lists: []listing{refusal, listingOne}})
			client := connect(t, server.Address)
			slept := client.CountSleeps()
			ctx, cancel := context.WithTimeout(context.Background(), 8*time.Second)
			defer cancel()

			if _, err := client.ListModels(ctx); err == nil {
				t.Fatal("wanted the refusal")
			}
			if len(*slept) != 0 {
				t.Fatalf("waited %v", *slept)
			}
		})
	}
}

func TestAnErrorTellsWhatTheServiceSaid(t *testing.T) {
	server := serve(t, &fakespeech.Server{Lists: []listing{refusing(codes.ResourceExhausted, "NO_CAPACITY", time.Hour)}})
	_, err := connect(t, server.Address).ListModels(testContext(t))

	var failure *dsmstt.Error
	if !errors.As(err, &failure) || !errors.Is(err, dsmstt.ErrNoCapacity) || errors.Is(err, dsmstt.ErrDraining) {
		t.Fatalf("got %v", err)
	}
	if failure.RetryAfter != time.Hour || failure.Message != "as the script says" {
		t.Errorf("got %+v", failure)
	}
	if failure.RequestID != server.Calls()[0].Get("x-request-id")[0] {
		t.Errorf("got the request id %q", failure.RequestID)
	}
}

func TestAnErrorOfAContextIsThatOfTheContext(t *testing.T) {
	server := serve(t, &fakespeech.Server{Lists: []listing{listingOne}})
	ctx, cancel := context.WithCancel(context.Background())
	cancel()

	_, err := connect(t, server.Address).ListModels(ctx)

	if !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v", err)
	}
}

func TestOptionsThatCannotWorkAreRefused(t *testing.T) {
	for name, option := range map[string]dsmstt.Option{
		"a CA file that is not there": dsmstt.WithCAFile("nowhere.pem"),
		"a CA file that is none":      dsmstt.WithCAFile("go.mod"),
		"no attempt at all":           dsmstt.WithRetry(dsmstt.RetryPolicy{}),
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := dsmstt.NewClient("127.0.0.1:1", option); err == nil {
				t.Fatal("wanted an error")
			}
		})
	}
}
