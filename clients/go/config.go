package dsmstt

import (
	"fmt"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/durationpb"

	speechv1 "github.com/dsm-stt/dsm-stt/clients/go/gen/dsm_stt/speech/v1"
)

// StreamConfig says what a session is to be. The zero value of each field, except Audio, is the service's default.
type StreamConfig struct {
	// Model is a name from ListModels.
	Model string
	Audio AudioFormat
	// LanguageCodes are those the caller expects, "en" say; a model that does not transcribe one is refused.
	LanguageCodes []string
	Results       ResultOptions
	// Turns asks for TurnEvents; nil for none.
	Turns *TurnOptions
	// IdleTimeout is how long the session may go without anything being sent.
	IdleTimeout time.Duration
	// Labels are marks for the operator's log line. No personal data, please.
	Labels map[string]string
	// Resume lets the session outlive a broken connection; nil: it ends with it.
	Resume *ResumeOptions
}

// ResultOptions says which results a session sends.
type ResultOptions struct {
	// Interim asks for words while they grow.
	Interim bool
	// VADInterval asks for VADEvents this far apart; models without pause heads refuse it.
	VADInterval time.Duration
}

// TurnOptions says when a speaker is taken to have ended a turn. For defaults and limits see speech.proto.
type TurnOptions struct {
	EndThreshold      float32
	EagerEndThreshold float32
	PauseHorizon      time.Duration
	// MinSilence nil: the service's default, which is not 0 for models without pause heads.
	MinSilence *time.Duration
	MaxSilence time.Duration
	FlushOnEnd bool
}

// ResumeOptions bounds what a session keeps to be able to go on after a broken connection. Audio must be LINEAR16,
// FLOAT32, MULAW or ALAW.
type ResumeOptions struct {
	// Buffer is how much audio is kept, 20 s or more; 0: 60 s. Only what the service may need again is kept, a few
	// seconds normally; when the buffer is full, Send waits.
	Buffer time.Duration
}

const (
	defaultResumeBuffer = 60 * time.Second
	minResumeBuffer     = 20 * time.Second
)

func (c StreamConfig) validate() error {
	if c.Resume == nil {
		return nil
	}
	if c.Audio.blockBytes() == 0 || c.Audio.SampleRate <= 0 {
		return badConfig("Resume: wanted an Audio.Encoding of Linear16, Float32, MuLaw or ALaw with its SampleRate, got %+v", c.Audio)
	}
	if buffer := c.Resume.Buffer; buffer != 0 && buffer < minResumeBuffer {
		return badConfig("Resume.Buffer: wanted at least %v, got %v", minResumeBuffer, buffer)
	}
	return nil
}

func badConfig(format string, args ...any) *Error {
	return &Error{Code: codes.InvalidArgument, Reason: ErrBadConfig.Reason, Message: fmt.Sprintf(format, args...)}
}

func (c StreamConfig) resumeBuffer() time.Duration {
	if c.Resume.Buffer == 0 {
		return defaultResumeBuffer
	}
	return c.Resume.Buffer
}

func (c StreamConfig) proto() *speechv1.RecognitionConfig {
	return &speechv1.RecognitionConfig{
		Model:         c.Model,
		AudioFormat:   c.Audio.proto(),
		LanguageCodes: c.LanguageCodes,
		Results:       c.Results.proto(),
		Turns:         c.Turns.proto(),
		IdleTimeout:   optionalDuration(c.IdleTimeout),
		Labels:        c.Labels,
	}
}

func (r ResultOptions) proto() *speechv1.ResultOptions {
	return &speechv1.ResultOptions{InterimResults: r.Interim, VadInterval: optionalDuration(r.VADInterval)}
}

func (t *TurnOptions) proto() *speechv1.TurnOptions {
	if t == nil {
		return nil
	}
	options := &speechv1.TurnOptions{
		Enabled:           true,
		EndThreshold:      optionalFloat(t.EndThreshold),
		EagerEndThreshold: optionalFloat(t.EagerEndThreshold),
		PauseHorizon:      optionalDuration(t.PauseHorizon),
		MaxSilence:        optionalDuration(t.MaxSilence),
		FlushOnEnd:        t.FlushOnEnd,
	}
	if t.MinSilence != nil {
		options.MinSilence = durationpb.New(*t.MinSilence)
	}
	return options
}

func optionalDuration(d time.Duration) *durationpb.Duration {
	if d == 0 {
		return nil
	}
	return durationpb.New(d)
}

func optionalFloat(f float32) *float32 {
	if f == 0 {
		return nil
	}
	return &f
}
