package dsmstt

import (
	"context"
	"time"

	speechv1 "github.com/dsm-stt/dsm-stt/clients/go/gen/dsm_stt/speech/v1"
)

// RecognizeConfig says how a recording is to be transcribed. The zero value will do for WAV, FLAC, MP3 and Ogg Opus.
type RecognizeConfig struct {
	// Model is a name from ListModels; empty for the service's default.
	Model string
	// Audio is needed for recordings without a header.
	Audio         AudioFormat
	LanguageCodes []string
	// Turns asks where turns start and end; FlushOnEnd means nothing here and is refused.
	Turns  *TurnOptions
	Labels map[string]string
}

// Transcript is what was said in a recording.
type Transcript struct {
	SessionID string
	Model     string
	// Text is the words joined by spaces.
	Text          string
	Words         []Word
	AudioDuration time.Duration
	Turns         []TurnEvent
}

// Recognize transcribes a whole recording, of at most 64 MiB.
func (c *Client) Recognize(ctx context.Context, audio []byte, config RecognizeConfig) (*Transcript, error) {
	id := newRequestID()
	request := &speechv1.RecognizeRequest{
		Audio: audio,
		Config: &speechv1.RecognitionConfig{
			Model:         config.Model,
			AudioFormat:   config.Audio.proto(),
			LanguageCodes: config.LanguageCodes,
			Turns:         config.Turns.proto(),
			Labels:        config.Labels,
		},
	}
	var response *speechv1.RecognizeResponse
	err := c.retrying(ctx, id, func() (err error) {
		response, err = c.stub.Recognize(c.outgoing(ctx, id), request)
		return err
	})
	if err != nil {
		return nil, err
	}
	transcript := &Transcript{
		SessionID:     response.GetSessionId(),
		Model:         response.GetModel(),
		Text:          response.GetTranscript(),
		Words:         words(response.GetWords()),
		AudioDuration: response.GetAudioDuration().AsDuration(),
	}
	for _, turn := range response.GetTurns() {
		transcript.Turns = append(transcript.Turns, turnEvent(turn, Cursors{}))
	}
	return transcript, nil
}
