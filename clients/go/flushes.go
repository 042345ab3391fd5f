package dsmstt

import (
	"strconv"
	"sync"
)

// flushes are those that somebody waits for.
type flushes struct {
	mutex   sync.Mutex
	count   int
	waiting map[string]chan struct{}
}

// begin makes an id, and the channel that closes when the flush is done.
func (f *flushes) begin() (string, <-chan struct{}) {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	f.count++
	id := strconv.Itoa(f.count)
	f.waiting[id] = make(chan struct{})
	return id, f.waiting[id]
}

// end lets a flush go, done or not.
func (f *flushes) end(id string) {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	delete(f.waiting, id)
}

func (f *flushes) done(id string) {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	if flushed, ok := f.waiting[id]; ok {
		close(flushed)
		delete(f.waiting, id)
	}
}
