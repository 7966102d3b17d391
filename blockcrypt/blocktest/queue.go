package blocktest

import (
	"math/rand/v2"

	"sealbay/blockcrypt/blockdev"
)

// queue carries out its requests when they are reaped, so that every state
// between submission and completion lasts long enough to be tested.
type queue struct {
	m       *Memory
	o       blockdev.QueueOptions
	slots   []*blockdev.Request // by Slot - SlotBase, nil where free
	waiting []waiting
	rng     *rand.Rand // nil: in order
	closed  bool
}

type waiting struct {
	r      *blockdev.Request
	covers int64
}

func (q *queue) Depth() int { return q.o.Depth }

func (q *queue) Submit(reqs []*blockdev.Request) (int, error) {
	if q.closed {
		return 0, blockdev.ErrClosed
	}
	n := min(len(reqs), q.o.Depth-len(q.waiting))
	q.m.mu.Lock()
	covers := q.m.seq
	q.m.mu.Unlock()
	for _, r := range reqs[:n] {
		r.Stamps = blockdev.Stamps{Submitted: blockdev.Now()}
		r.Slot = q.o.SlotBase + q.take(r)
		q.waiting = append(q.waiting, waiting{r, covers})
	}
	return n, nil
}

func (q *queue) take(r *blockdev.Request) uint16 {
	for i, held := range q.slots {
		if held == nil {
			q.slots[i] = r
			return uint16(i)
		}
	}
	panic("blocktest: more requests than slots")
}

func (q *queue) Reap(done []*blockdev.Request, min_ int) (int, error) {
	if q.closed {
		return 0, blockdev.ErrClosed
	}
	most := min(len(done), len(q.waiting))
	n := most
	if q.rng != nil {
		least := min(max(min_, 0), most)
		n = least + q.rng.IntN(most-least+1)
		q.rng.Shuffle(len(q.waiting), func(i, j int) {
			q.waiting[i], q.waiting[j] = q.waiting[j], q.waiting[i]
		})
	}
	for i, w := range q.waiting[:n] {
		q.complete(w)
		done[i] = w.r
	}
	q.waiting = append(q.waiting[:0], q.waiting[n:]...)
	return n, nil
}

func (q *queue) complete(w waiting) {
	r := w.r
	r.Stamps.Issued = blockdev.Now()
	r.Err = q.answer(w)
	r.Stamps.Completed = blockdev.Now()
	r.Stamps.Reaped = r.Stamps.Completed
	q.slots[r.Slot-q.o.SlotBase] = nil
}

func (q *queue) answer(w waiting) error {
	if err := q.o.Check(w.r, &q.m.info); err != nil {
		return err
	}
	if _, err := q.m.run(w.r, w.covers); err != nil {
		return blockdev.NewOpError(w.r, q.m.info.Path, err)
	}
	return nil
}

func (q *queue) Close() error {
	for _, w := range q.waiting {
		w.r.Err = blockdev.NewOpError(w.r, q.m.info.Path, blockdev.ErrClosed)
	}
	q.waiting, q.closed = nil, true
	return nil
}
