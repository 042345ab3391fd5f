package dsmstt

import (
	"time"

	speechv1 "github.com/dsm-stt/dsm-stt/clients/go/gen/dsm_stt/speech/v1"
)

// Event is something a session tells: one of ResultEvent, TurnEvent, VADEvent, FlushedEvent, UpdatedEvent,
// GoAwayEvent, WarningEvent, ResumedEvent and EndedEvent, as values.
type Event interface {
	// Progress is how far the audio had come when the event was sent.
	Progress() Cursors
}

// Cursors say how far the audio of a session has come; none ever runs backwards.
type Cursors struct {
	// Received is the audio that the service has taken.
	Received time.Duration
	// Processed is what its model has heard.
	Processed time.Duration
	// Finalized: every word that starts before this has been sent, final.
	Finalized time.Duration
}

// Progress makes every event that embeds Cursors an Event.
func (c Cursors) Progress() Cursors { return c }

// Word is what was said, and where in the audio.
type Word struct {
	Text  string
	Start time.Duration
	// End is an estimate; pauses are not in it.
	End time.Duration
}

// ResultEvent brings words.
type ResultEvent struct {
	Cursors
	TurnIndex int
	// Final words never change and are not sent again; others are replaced by the next result.
	Final bool
	Words []Word
}

// TurnKind is what happened to a turn.
type TurnKind int

// What happens to a turn, in this order.
const (
	TurnStart    = TurnKind(speechv1.TurnEvent_TURN_EVENT_START)
	TurnEagerEnd = TurnKind(speechv1.TurnEvent_TURN_EVENT_EAGER_END)
	TurnResumed  = TurnKind(speechv1.TurnEvent_TURN_EVENT_RESUMED)
	TurnEnd      = TurnKind(speechv1.TurnEvent_TURN_EVENT_END)
)

// TurnEvent tells that a speaker's turn started or ended.
type TurnEvent struct {
	Cursors
	Kind      TurnKind
	TurnIndex int
	Offset    time.Duration
	// Probability of the pause head that decided; nil if none did.
	Probability *float32
}

// VADEvent brings the probabilities that the speaker pauses, one a horizon of Session.PauseHorizons.
type VADEvent struct {
	Cursors
	Offset             time.Duration
	PauseProbabilities []float32
}

// FlushedEvent comes behind every word of the audio before a flush.
type FlushedEvent struct {
	Cursors
	// Offset is the end of the audio that the flush covers.
	Offset time.Duration
}

// UpdatedEvent tells that an update has taken effect.
type UpdatedEvent struct {
	Cursors
	UpdateID string
}

// GoAwayEvent tells that the gateway stops soon. With Resume the session then goes on elsewhere by itself.
type GoAwayEvent struct {
	Cursors
	TimeLeft time.Duration
}

// WarningCode is what a warning is about.
type WarningCode int

// The warnings, explained in speech.proto.
const (
	WarningLagging        = WarningCode(speechv1.WarningCode_WARNING_CODE_LAGGING)
	WarningStalled        = WarningCode(speechv1.WarningCode_WARNING_CODE_STALLED)
	WarningUntrainedModel = WarningCode(speechv1.WarningCode_WARNING_CODE_UNTRAINED_MODEL)
)

// WarningEvent tells of something that the caller may want to act on.
type WarningEvent struct {
	Cursors
	Code WarningCode
	// Message is for people.
	Message string
}

// ResumedEvent tells that the connection broke and the session goes on over another. Interim words are void.
type ResumedEvent struct {
	Cursors
	Session Session
	// Cause is why the connection broke.
	Cause *Error
}

// EndedEvent is the last: the transcript is complete.
type EndedEvent struct {
	Cursors
	AudioDuration time.Duration
	// Words counts the final words of the session.
	Words int
}

// Session is what the service said when it took the session.
type Session struct {
	ID    string
	Model string
	// Delay is the time between a sound and its word.
	Delay time.Duration
	// FrameDuration is the model's step.
	FrameDuration time.Duration
	// PauseHorizons is empty for models without pause heads.
	PauseHorizons []time.Duration
	IdleTimeout   time.Duration
	MaxDuration   time.Duration
}

func session(started *speechv1.SessionStarted) Session {
	return Session{
		ID:            started.GetSessionId(),
		Model:         started.GetModel(),
		Delay:         started.GetDelay().AsDuration(),
		FrameDuration: started.GetFrameDuration().AsDuration(),
		PauseHorizons: durations(started.GetPauseHorizons()),
		IdleTimeout:   started.GetIdleTimeout().AsDuration(),
		MaxDuration:   started.GetMaxDuration().AsDuration(),
	}
}

func words(messages []*speechv1.Word) []Word {
	values := make([]Word, 0, len(messages))
	for _, word := range messages {
		values = append(values, Word{
			Text:  word.GetText(),
			Start: word.GetStartOffset().AsDuration(),
			End:   word.GetEndOffset().AsDuration(),
		})
	}
	return values
}

func turnEvent(turn *speechv1.Turn, cursors Cursors) TurnEvent {
	return TurnEvent{
		Cursors:     cursors,
		Kind:        TurnKind(turn.GetEvent()),
		TurnIndex:   int(turn.GetTurnIndex()),
		Offset:      turn.GetAudioOffset().AsDuration(),
		Probability: turn.Probability,
	}
}
