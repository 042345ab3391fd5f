package fakespeech

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	speechv1 "github.com/dsm-stt/dsm-stt/clients/go/gen/dsm_stt/speech/v1"
)

// The audio that Hearing understands: LINEAR16 of this rate, in frames of 80 ms.
const (
	RateHertz  = 8000
	Frame      = 80 * time.Millisecond
	FrameBytes = RateHertz * 2 * 8 / 100
	// Delay is how many frames after its own a word is said.
	Delay = 6
)

// Say makes audio in which a word begins in each of the given frames; the word of frame n is "w<n>".
func Say(frames int, wordsAt ...int) []byte {
	audio := make([]byte, frames*FrameBytes)
	for _, at := range wordsAt {
		for offset := range FrameBytes / 2 {
			binary.LittleEndian.PutUint16(audio[at*FrameBytes+2*offset:], uint16(at))
		}
	}
	return audio
}

// Hearing is a service that hears the audio of Say, with the order, the cursors and the resuming of the real one.
type Hearing struct {
	// BreakAfter ends the call with Broken, nil for good order, once so many frames are heard; 0: never.
	BreakAfter int
	Broken     error
	// Shift is how many frames late every word is heard, as by a model without the context of before.
	Shift int
	// Turns tells the start of a turn with the first word, and its end so many frames after the last; 0: none.
	Turns int
	// Config is the first message of the call.
	Config *speechv1.RecognitionConfig
}

var errBroken = errors.New("heard enough")

type heardSession struct {
	*Hearing
	call      Call
	sequence  uint64
	base      time.Duration
	wordsFrom time.Duration
	audio     []byte
	heard     int
	words     uint64
	turn      uint32
	turnOpen  bool
	lastWord  int
	told      int // frames whose words are told
}

// Serve answers one call; a script of Server.
func (h *Hearing) Serve(call Call) error {
	first, err := call.Recv()
	if err != nil {
		return err
	}
	h.Config = first.GetConfig()
	s := &heardSession{Hearing: h, call: call}
	if resume := h.Config.GetResume(); resume != nil {
		s.base, s.wordsFrom = resume.GetAudioOffset().AsDuration(), resume.GetWordsFrom().AsDuration()
		s.turn = resume.GetTurnIndex()
		if s.base%Frame != 0 {
			return fmt.Errorf("wanted to resume at a frame's edge, got %v", s.base)
		}
	}
	started := &speechv1.SessionStarted{SessionId: "fake", FrameDuration: durationpb.New(Frame)}
	err = s.send(&speechv1.StreamingRecognizeResponse{
		Event: &speechv1.StreamingRecognizeResponse_SessionStarted{SessionStarted: started},
	})
	for err == nil {
		var request *speechv1.StreamingRecognizeRequest
		if request, err = call.Recv(); err == nil {
			err = s.take(request)
		}
	}
	if errors.Is(err, errBroken) {
		return h.Broken
	}
	if errors.Is(err, io.EOF) {
		return s.end()
	}
	return err
}

func (s *heardSession) take(request *speechv1.StreamingRecognizeRequest) error {
	switch request := request.GetRequest().(type) {
	case *speechv1.StreamingRecognizeRequest_Audio:
		return s.hear(request.Audio)
	case *speechv1.StreamingRecognizeRequest_Silence:
		frames := int(request.Silence.GetDuration().AsDuration() / Frame)
		return s.hear(make([]byte, frames*FrameBytes))
	case *speechv1.StreamingRecognizeRequest_Flush:
		if err := s.sayUntil(s.heard); err != nil {
			return err
		}
		done := &speechv1.FlushDone{FlushId: request.Flush.GetFlushId(), AudioOffset: durationpb.New(s.at(s.heard))}
		return s.send(&speechv1.StreamingRecognizeResponse{
			Event: &speechv1.StreamingRecognizeResponse_FlushDone{FlushDone: done},
		})
	case *speechv1.StreamingRecognizeRequest_Update:
		applied := &speechv1.UpdateApplied{UpdateId: request.Update.GetUpdateId()}
		return s.send(&speechv1.StreamingRecognizeResponse{
			Event: &speechv1.StreamingRecognizeResponse_UpdateApplied{UpdateApplied: applied},
		})
	}
	return nil
}

func (s *heardSession) hear(audio []byte) error {
	s.audio = append(s.audio, audio...)
	for (s.heard+1)*FrameBytes <= len(s.audio) {
		if s.BreakAfter > 0 && s.heard == s.BreakAfter {
			return errBroken
		}
		s.heard++
		if err := s.sayUntil(s.heard - Delay); err != nil {
			return err
		}
	}
	return nil
}

// sayUntil tells the words that begin before a frame.
func (s *heardSession) sayUntil(frame int) error {
	for ; s.told < frame; s.told++ {
		if err := s.say(s.told); err != nil {
			return err
		}
	}
	return nil
}

func (s *heardSession) say(frame int) error {
	word := 0
	if source := frame - s.Shift; source >= 0 {
		word = int(binary.LittleEndian.Uint16(s.audio[source*FrameBytes+FrameBytes/2:]))
	}
	if word != 0 && s.at(frame) >= s.wordsFrom {
		s.words++
		s.lastWord = frame
		if s.Turns > 0 && !s.turnOpen {
			s.turnOpen = true
			if err := s.tellTurn(speechv1.TurnEvent_TURN_EVENT_START, frame); err != nil {
				return err
			}
		}
		result := &speechv1.Result{TurnIndex: s.turn, IsFinal: true, Words: []*speechv1.Word{{
			Text:        fmt.Sprintf("w%d", word),
			StartOffset: durationpb.New(s.at(frame)),
			EndOffset:   durationpb.New(s.at(frame + 1)),
		}}}
		return s.send(&speechv1.StreamingRecognizeResponse{
			Event: &speechv1.StreamingRecognizeResponse_Result{Result: result},
		})
	}
	if s.turnOpen && frame-s.lastWord >= s.Turns {
		return s.endTurn(frame)
	}
	return nil
}

func (s *heardSession) endTurn(frame int) error {
	err := s.tellTurn(speechv1.TurnEvent_TURN_EVENT_END, frame)
	s.turn++
	s.turnOpen = false
	return err
}

func (s *heardSession) tellTurn(event speechv1.TurnEvent, frame int) error {
	turn := &speechv1.Turn{Event: event, TurnIndex: s.turn, AudioOffset: durationpb.New(s.at(frame))}
	return s.send(&speechv1.StreamingRecognizeResponse{Event: &speechv1.StreamingRecognizeResponse_Turn{Turn: turn}})
}

func (s *heardSession) end() error {
	if err := s.sayUntil(s.heard); err != nil {
		return err
	}
	if s.turnOpen {
		if err := s.endTurn(s.heard); err != nil {
			return err
		}
	}
	ended := &speechv1.SessionEnded{AudioDuration: durationpb.New(s.at(s.heard) - s.base), Words: s.words}
	return s.send(&speechv1.StreamingRecognizeResponse{
		Event: &speechv1.StreamingRecognizeResponse_SessionEnded{SessionEnded: ended},
	})
}

func (s *heardSession) at(frame int) time.Duration { return s.base + time.Duration(frame)*Frame }

func (s *heardSession) send(response *speechv1.StreamingRecognizeResponse) error {
	s.sequence++
	response.Sequence = s.sequence
	response.Cursors = &speechv1.Cursors{
		Received:  durationpb.New(s.at(s.heard)),
		Processed: durationpb.New(s.at(s.heard)),
		// A result must not claim that words sent after it are final, so this one's own word is not covered yet.
		Finalized: durationpb.New(s.at(s.told)),
	}
	return s.call.Send(response)
}
