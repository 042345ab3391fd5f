package dsmstt

import (
	"context"
	"sync"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	speechv1 "github.com/dsm-stt/dsm-stt/clients/go/gen/dsm_stt/speech/v1"
)

const (
	// What may wait to be written, of a session that does not resume.
	waitingBytes = 64 << 10
	// Beside its audio, what an entry is taken to cost.
	entryBytes = 64
	// The service tells its cursors only beside events, and a silent speaker causes none. An update that changes
	// nothing is answered behind the audio before it, so one is sent with so much audio.
	probeEvery = 5 * time.Second
	probeID    = "dsm-stt-client-probe"
)

// entry is one request on a tape. Positions are bytes of audio; silence counts as the bytes it would have had.
type entry struct {
	request *speechv1.StreamingRecognizeRequest // nil: the half-close
	start   int64
	length  int64
}

func (e entry) end() int64 { return e.start + e.length }

func (e entry) cost() int64 { return entryBytes + int64(len(e.request.GetAudio())) }

// tape is what a session sends, in order: what waits to be written, and, if the session may resume, what may have to
// be written again. Bounded: whoever adds to it waits for room.
type tape struct {
	format AudioFormat
	resume bool
	limit  int64
	// Closed when the session is over, whoever waits.
	over <-chan struct{}

	mutex sync.Mutex
	// Closed, and replaced, whenever anything below changes.
	changed chan struct{}
	entries []entry
	// Index of the first entry that is not written to the present connection.
	next       int
	cost       int64
	position   int64
	sinceProbe int64
	closed     bool
}

func newTape(config StreamConfig, over <-chan struct{}) *tape {
	t := &tape{format: config.Audio, limit: waitingBytes, over: over, changed: make(chan struct{})}
	if config.Resume != nil {
		t.resume = true
		t.limit = t.format.bytesOf(config.resumeBuffer())
	}
	return t
}

// add appends a request, or the half-close if it is nil, as soon as there is room.
func (t *tape) add(ctx context.Context, request *speechv1.StreamingRecognizeRequest) error {
	added := entry{request: request, length: t.lengthOf(request)}
	t.mutex.Lock()
	defer t.mutex.Unlock()
	for !t.closed && t.cost > 0 && t.cost+added.cost() > t.limit {
		if err := t.wait(ctx); err != nil {
			return err
		}
	}
	if t.closed {
		return ErrClosed
	}
	t.closed = request == nil
	t.push(added)
	if t.sinceProbe += added.length; t.resume && t.sinceProbe >= t.format.bytesOf(probeEvery) {
		t.sinceProbe = 0
		t.push(entry{request: updateRequest(&speechv1.Update{UpdateId: probeID})})
	}
	t.announce()
	return nil
}

// take returns the next request to write, nil for the half-close.
func (t *tape) take(ctx context.Context) (*speechv1.StreamingRecognizeRequest, error) {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	for t.next >= len(t.entries) {
		if err := t.wait(ctx); err != nil {
			return nil, err
		}
	}
	request := t.entries[t.next].request
	t.next++
	if !t.resume || request.GetKeepAlive() != nil {
		t.remove(t.next - 1)
	}
	return request, nil
}

// forget lets go what ends before a time and is written.
func (t *tape) forget(before time.Duration) {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	position := t.format.bytesOf(before)
	for t.next > 0 && t.entries[0].end() <= position {
		t.remove(0)
	}
}

// answered lets a flush or an update go that the service has answered; nil if there is none.
func (t *tape) answered(matches func(*speechv1.StreamingRecognizeRequest) bool) *speechv1.StreamingRecognizeRequest {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	for index, entry := range t.entries[:t.next] {
		if entry.request != nil && matches(entry.request) {
			t.remove(index)
			return entry.request
		}
	}
	return nil
}

// rewind lets everything from a time on be written once more, and returns where that really begins.
func (t *tape) rewind(to time.Duration) time.Duration {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	position := min(t.format.bytesOf(to), t.position)
	t.next = len(t.entries)
	for t.next > 0 && t.entries[0].end() <= position && t.entries[0].start < position {
		t.remove(0)
	}
	t.next = 0
	if len(t.entries) > 0 {
		position = max(position, t.entries[0].start)
		t.cut(position)
	}
	t.announce()
	return t.format.durationOf(position)
}

// cut shortens the first entry to what follows a position.
func (t *tape) cut(position int64) {
	first := &t.entries[0]
	gone := position - first.start
	if gone <= 0 {
		return
	}
	t.cost -= first.cost()
	first.start, first.length = position, first.length-gone
	if audio := first.request.GetAudio(); audio != nil {
		first.request = audioRequest(audio[gone:])
	} else {
		first.request = silenceRequest(t.format.durationOf(first.length))
	}
	t.cost += first.cost()
}

func (t *tape) push(added entry) {
	added.start = t.position
	t.position += added.length
	t.cost += added.cost()
	t.entries = append(t.entries, added)
}

func (t *tape) remove(index int) {
	t.cost -= t.entries[index].cost()
	if index == 0 {
		t.entries[0] = entry{} // for the garbage collector
		t.entries = t.entries[1:]
	} else {
		t.entries = append(t.entries[:index], t.entries[index+1:]...)
	}
	t.next--
	t.announce()
}

func (t *tape) announce() {
	close(t.changed)
	t.changed = make(chan struct{})
}

// wait gives up the lock until something has changed.
func (t *tape) wait(ctx context.Context) error {
	changed := t.changed
	t.mutex.Unlock()
	defer t.mutex.Lock()
	select {
	case <-changed:
		return nil
	case <-t.over:
		return ErrClosed
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (t *tape) lengthOf(request *speechv1.StreamingRecognizeRequest) int64 {
	if t.format.blockBytes() == 0 || t.format.SampleRate <= 0 {
		return 0
	}
	if silence := request.GetSilence(); silence != nil {
		return t.format.bytesOf(silence.GetDuration().AsDuration())
	}
	return int64(len(request.GetAudio()))
}

func audioRequest(audio []byte) *speechv1.StreamingRecognizeRequest {
	return &speechv1.StreamingRecognizeRequest{Request: &speechv1.StreamingRecognizeRequest_Audio{Audio: audio}}
}

func silenceRequest(duration time.Duration) *speechv1.StreamingRecognizeRequest {
	silence := &speechv1.Silence{Duration: durationpb.New(duration)}
	return &speechv1.StreamingRecognizeRequest{Request: &speechv1.StreamingRecognizeRequest_Silence{Silence: silence}}
}

func flushRequest(flush *speechv1.Flush) *speechv1.StreamingRecognizeRequest {
	return &speechv1.StreamingRecognizeRequest{Request: &speechv1.StreamingRecognizeRequest_Flush{Flush: flush}}
}

func updateRequest(update *speechv1.Update) *speechv1.StreamingRecognizeRequest {
	return &speechv1.StreamingRecognizeRequest{Request: &speechv1.StreamingRecognizeRequest_Update{Update: update}}
}

func keepAliveRequest() *speechv1.StreamingRecognizeRequest {
	alive := &speechv1.KeepAlive{}
	return &speechv1.StreamingRecognizeRequest{Request: &speechv1.StreamingRecognizeRequest_KeepAlive{KeepAlive: alive}}
}

func configRequest(config *speechv1.RecognitionConfig) *speechv1.StreamingRecognizeRequest {
	return &speechv1.StreamingRecognizeRequest{Request: &speechv1.StreamingRecognizeRequest_Config{Config: config}}
}
