package dsmstt

import (
	"context"
	"math/rand/v2"
	"time"
)

// RetryPolicy says how often and how soon a call is tried again that the service refused for now: UNAVAILABLE, or
// RESOURCE_EXHAUSTED with a delay (NO_CAPACITY). Before a session has started and for unary calls; with
// StreamConfig.Resume also when a connection breaks.
type RetryPolicy struct {
	// MaxAttempts counts the first one too; 1 never tries again.
	MaxAttempts int
	// InitialBackoff doubles with each attempt up to MaxBackoff, and is jittered. A delay that the service names is
	// kept, and up to a fifth of it added.
	InitialBackoff time.Duration
	// MaxBackoff is also the longest delay of the service that is waited for; with a longer one the call fails at once.
	MaxBackoff time.Duration
}

// DefaultRetryPolicy is that of a Client without WithRetry.
var DefaultRetryPolicy = RetryPolicy{MaxAttempts: 5, InitialBackoff: 250 * time.Millisecond, MaxBackoff: 10 * time.Second}

// delay is how long to wait after an attempt, counted from 1; false if it was the last.
func (p RetryPolicy) delay(attempt int, failure *Error) (time.Duration, bool) {
	if !failure.retryable() || attempt >= p.MaxAttempts || failure.RetryAfter > p.MaxBackoff {
		return 0, false
	}
	if asked := failure.RetryAfter; asked > 0 {
		return asked + time.Duration(rand.Float64()*float64(asked)/5), true
	}
	backoff := p.InitialBackoff
	for range attempt - 1 {
		backoff = min(2*backoff, p.MaxBackoff)
	}
	return backoff/2 + time.Duration(rand.Float64()*float64(backoff)/2), true
}

// retrying tries until it succeeds, fails for good, or the context would end before the next attempt.
func (c *Client) retrying(ctx context.Context, requestID string, try func() error) error {
	for attempt := 1; ; attempt++ {
		err := try()
		if err == nil {
			return nil
		}
		failure := toError(err, requestID)
		delay, again := c.retry.delay(attempt, failure)
		if deadline, ok := ctx.Deadline(); !again || (ok && time.Until(deadline) < delay) {
			return failure
		}
		if c.sleep(ctx, delay) != nil {
			return failure
		}
		// gRPC waits by itself before it connects again; the waiting has just been done.
		c.conn.ResetConnectBackoff()
	}
}

func sleep(ctx context.Context, delay time.Duration) error {
	timer := time.NewTimer(delay)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
