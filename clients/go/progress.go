package dsmstt

import (
	"time"

	speechv1 "github.com/dsm-stt/dsm-stt/clients/go/gen/dsm_stt/speech/v1"
)

const (
	// Audio that a resumed session hears again, so that its model has a context.
	overlap = 2 * time.Second
	// A word heard again may be so much off: two frames.
	tolerance = 160 * time.Millisecond
	// How far back a turn whose end is not heard yet is looked for.
	turnReach = 10 * time.Second
	// Resumed sessions begin at a frame's edge, so that the frames are those of the old session.
	frame = 80 * time.Millisecond
	// Final words that may come again: those of the last seconds.
	remembered = 64
)

// progress is what a session's caller has been told, so that a resumed session tells the rest and nothing twice.
type progress struct {
	cursors  Cursors
	words    int
	starts   []time.Duration // of the last final words
	turn     int             // under way, or else the next
	turnOpen bool
	turnAt   time.Duration // where it started
	vad      time.Duration

	// Of a resumed session: words before `from` were all told, and those that started at `echoes` may come again.
	resumed bool
	from    time.Duration
	echoes  []time.Duration
}

// advance takes the cursors of a response and returns them such that none runs backwards.
func (p *progress) advance(cursors *speechv1.Cursors) Cursors {
	p.cursors.Received = max(p.cursors.Received, cursors.GetReceived().AsDuration())
	p.cursors.Processed = max(p.cursors.Processed, cursors.GetProcessed().AsDuration())
	p.cursors.Finalized = max(p.cursors.Finalized, cursors.GetFinalized().AsDuration())
	return p.cursors
}

// newWords returns the words of a result that were not told before.
func (p *progress) newWords(heard []Word, final bool) []Word {
	fresh := heard[:0:0]
	for _, word := range heard {
		if p.resumed && p.told(word.Start, final) {
			continue
		}
		fresh = append(fresh, word)
		if final {
			p.words++
			p.starts = append(p.starts, word.Start)
			p.starts = p.starts[max(0, len(p.starts)-remembered):]
		}
	}
	return fresh
}

// told says whether a word of a resumed session was told by the one before. Each old word explains one final word.
func (p *progress) told(start time.Duration, final bool) bool {
	for index, echo := range p.echoes {
		if (start - echo).Abs() <= tolerance {
			if final {
				p.echoes = append(p.echoes[:index:index], p.echoes[index+1:]...)
			}
			return true
		}
	}
	return start < p.from || (len(p.starts) > 0 && start < p.starts[len(p.starts)-1])
}

// newTurn says whether a turn event was not told before, and follows the turns.
func (p *progress) newTurn(event TurnEvent) bool {
	switch event.Kind {
	case TurnStart:
		if p.turnOpen && event.TurnIndex == p.turn {
			return false
		}
		p.turn, p.turnOpen, p.turnAt = event.TurnIndex, true, event.Offset
	case TurnEnd:
		p.turn, p.turnOpen = event.TurnIndex+1, false
	}
	return true
}

// newVAD says whether a position was not told before.
func (p *progress) newVAD(offset time.Duration) bool {
	if offset <= p.vad {
		return false
	}
	p.vad = offset
	return true
}

// keepFrom is where the audio begins that a resumed session would need.
func (p *progress) keepFrom() time.Duration {
	return max(0, p.wordsFrom()-overlap).Truncate(frame)
}

// wordsFrom is where the words begin that a resumed session must tell. The last word of a turn under way is told again
// (and dropped here), without which the service would not know of the turn and not tell its end.
func (p *progress) wordsFrom() time.Duration {
	from := p.cursors.Finalized
	if p.turnOpen && len(p.starts) > 0 {
		from = min(from, max(p.starts[len(p.starts)-1], p.turnAt, from-turnReach))
	}
	return max(0, from-tolerance)
}

// resume prepares for a session that tells words again, from wordsFrom on.
func (p *progress) resume() {
	p.resumed = true
	p.from = max(0, p.cursors.Finalized-tolerance)
	p.echoes = nil
	for _, start := range p.starts {
		if start >= p.wordsFrom()-frame {
			p.echoes = append(p.echoes, start)
		}
	}
}
