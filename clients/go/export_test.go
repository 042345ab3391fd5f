package dsmstt

import (
	"context"
	"time"
)

// CountSleeps lets a client wait for nothing and notes how long it would have waited.
func (c *Client) CountSleeps() *[]time.Duration {
	slept := &[]time.Duration{}
	c.sleep = func(ctx context.Context, delay time.Duration) error {
		*slept = append(*slept, delay)
		return ctx.Err()
	}
	return slept
}

// BeforeSleep lets a test act whenever a client is about to wait.
func (c *Client) BeforeSleep(act func(time.Duration)) {
	c.sleep = func(ctx context.Context, delay time.Duration) error {
		act(delay)
		return sleep(ctx, delay)
	}
}
