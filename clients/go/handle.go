package dsmstt

import (
	"google.golang.org/protobuf/proto"

	speechv1 "github.com/dsm-stt/dsm-stt/clients/go/gen/dsm_stt/speech/v1"
)

// handle turns a response into an event. An error ends the session.
func (s *Stream) handle(response *speechv1.StreamingRecognizeResponse) error {
	cursors := s.progress.advance(response.GetCursors())
	event := s.event(response, cursors)
	if s.resumable {
		s.tape.forget(s.progress.keepFrom())
	}
	if event != nil {
		if err := s.emit(event); err != nil {
			return err
		}
	}
	if flushed := response.GetFlushDone(); flushed != nil {
		s.flushes.done(flushed.GetFlushId())
	}
	return nil
}

// event returns what the caller is to be told; nil for what it knows already.
func (s *Stream) event(response *speechv1.StreamingRecognizeResponse, cursors Cursors) Event {
	switch event := response.GetEvent().(type) {
	case *speechv1.StreamingRecognizeResponse_Result:
		return s.result(event.Result, cursors)
	case *speechv1.StreamingRecognizeResponse_Turn:
		if turn := turnEvent(event.Turn, cursors); s.progress.newTurn(turn) {
			return turn
		}
	case *speechv1.StreamingRecognizeResponse_Vad:
		if offset := event.Vad.GetAudioOffset().AsDuration(); s.progress.newVAD(offset) {
			return VADEvent{Cursors: cursors, Offset: offset, PauseProbabilities: event.Vad.GetPauseProbabilities()}
		}
	case *speechv1.StreamingRecognizeResponse_FlushDone:
		s.tape.answered(func(request *speechv1.StreamingRecognizeRequest) bool {
			return request.GetFlush() != nil && request.GetFlush().GetFlushId() == event.FlushDone.GetFlushId()
		})
		return FlushedEvent{Cursors: cursors, Offset: event.FlushDone.GetAudioOffset().AsDuration()}
	case *speechv1.StreamingRecognizeResponse_GoAway:
		return GoAwayEvent{Cursors: cursors, TimeLeft: event.GoAway.GetTimeLeft().AsDuration()}
	case *speechv1.StreamingRecognizeResponse_Warning:
		code := WarningCode(event.Warning.GetCode())
		return WarningEvent{Cursors: cursors, Code: code, Message: event.Warning.GetMessage()}
	case *speechv1.StreamingRecognizeResponse_UpdateApplied:
		return s.updated(event.UpdateApplied.GetUpdateId(), cursors)
	case *speechv1.StreamingRecognizeResponse_SessionEnded:
		audio := s.base + event.SessionEnded.GetAudioDuration().AsDuration()
		return EndedEvent{Cursors: cursors, AudioDuration: audio, Words: s.progress.words}
	}
	// Of a newer service.
	return nil
}

func (s *Stream) result(result *speechv1.Result, cursors Cursors) Event {
	heard := words(result.GetWords())
	fresh := s.progress.newWords(heard, result.GetIsFinal())
	if len(fresh) == 0 && len(heard) > 0 {
		return nil
	}
	return ResultEvent{
		Cursors: cursors, TurnIndex: int(result.GetTurnIndex()), Final: result.GetIsFinal(), Words: fresh,
	}
}

// updated lets a session that resumes later do so with the options that it has now.
func (s *Stream) updated(id string, cursors Cursors) Event {
	request := s.tape.answered(func(request *speechv1.StreamingRecognizeRequest) bool {
		return request.GetUpdate() != nil && request.GetUpdate().GetUpdateId() == id
	})
	if id == probeID {
		return nil
	}
	if results := request.GetUpdate().GetResults(); results != nil {
		interim := s.config.GetResults().GetInterimResults()
		s.config.Results = proto.CloneOf(results)
		s.config.Results.InterimResults = interim
	}
	if turns := request.GetUpdate().GetTurns(); turns != nil {
		s.config.Turns = turns
	}
	return UpdatedEvent{Cursors: cursors, UpdateID: id}
}

// emit hands an event to the caller and waits until there is room for it.
func (s *Stream) emit(event Event) error {
	select {
	case s.events <- event:
		return nil
	case <-s.ctx.Done():
		return s.ctx.Err()
	}
}
