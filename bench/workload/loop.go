package workload

import (
	"errors"
	"fmt"
	"runtime"
	"sync/atomic"
	"time"

	"sealbay/bench/stats"
	"sealbay/blockcrypt/blockdev"
)

// ErrStopped says that a section was ended by its caller; what it measured is
// not whole.
var ErrStopped = errors.New("stopped")

// checkEvery is how often the stamp of a read is looked at while the clock
// runs: one touched cache line in 16 operations. The whole of the last blocks
// and of a sample is checked after the clock has stopped.
const checkEvery = 16

// Loop drives one queue. It belongs to one goroutine, locked to its thread
// from Open to Close.
type Loop struct {
	queue blockdev.Queue
	bufs  *Buffers
	stop  *atomic.Bool
	by    Observer // or nil

	section Section
	order   order
	next    uint64 // number of the next operation
	hist    *stats.Hist
	timed   bool // the clock runs
	out     Outcome
	bad     error

	reqs  []blockdev.Request // one for each place in flight
	ops   []uint64           // the operation that a place carries or carried, or none
	start []int64            // when it was submitted
	turn  []int              // which of a place's pool blocks is next
	free  []int              // places without an operation
	batch []*blockdev.Request
	done  []*blockdev.Request
}

// Observer looks at every request of a section besides the histogram: the
// kernel's probes (package probe).
type Observer interface {
	// Slots returns the blockdev.QueueOptions.SlotBase of a queue to observe,
	// and Bind is called with that queue, on its thread.
	Slots() uint16
	Bind(blockdev.Queue) error
	// Record takes each request as it is reaped, warm-up included, with its
	// latency in nanoseconds; Reset is called when the clock starts. Record
	// must not allocate.
	Record(r *blockdev.Request, latency int64)
	Reset()
}

// Open opens a queue of dev with w's depth and block size, and locks the
// goroutine to its thread. Setting stop ends a running section early. The
// observer may be nil.
func Open(dev blockdev.Device, w Workload, bufs *Buffers, stop *atomic.Bool, by Observer) (_ *Loop, err error) {
	runtime.LockOSThread()
	defer func() {
		if err != nil {
			runtime.UnlockOSThread()
		}
	}()
	depth, o := w.Depth, blockdev.QueueOptions{Depth: w.Depth, Buffers: bufs.arena, MaxTransfer: w.BlockSize}
	if by != nil {
		o.SlotBase = by.Slots()
	}
	q, err := dev.OpenQueue(o)
	if err != nil {
		return nil, err
	}
	if by != nil {
		if err := by.Bind(q); err != nil {
			return nil, errors.Join(err, q.Close())
		}
	}
	return &Loop{
		queue: q, bufs: bufs, stop: stop, by: by,
		reqs: make([]blockdev.Request, depth), ops: make([]uint64, depth),
		start: make([]int64, depth), turn: make([]int, depth),
		free: make([]int, 0, depth), batch: make([]*blockdev.Request, 0, depth),
		done: make([]*blockdev.Request, depth),
	}, nil
}

// Close closes the queue.
func (l *Loop) Close() error {
	defer runtime.UnlockOSThread()
	return l.queue.Close()
}

// Run does one section and records the latency of each timed operation in
// hist: from the moment it is submitted until it is reaped. The error is that
// of the first failed request, a *MismatchError, or ErrStopped.
func (l *Loop) Run(s Section, hist *stats.Hist) (Outcome, error) {
	l.prepare(s, hist)
	before := readMeter()
	began := blockdev.Now()
	warm := began + int64(s.Warmup)
	end := warm + int64(s.Length)
	if s.Ops == 0 && s.Warmup == 0 {
		l.timed = true
	}
	for now := began; l.bad == nil; {
		if l.stop.Load() {
			l.bad = ErrStopped
			break
		}
		if s.Ops == 0 && !l.timed && now >= warm {
			if l.by != nil {
				l.by.Reset()
			}
			l.timed, before = true, readMeter()
			began = blockdev.Now()
			end = began + int64(s.Length)
		}
		if l.finished(now, end) {
			break
		}
		now = l.step(now)
	}
	return l.finish(before, began)
}

// none marks a place that carried no operation yet.
const none = ^uint64(0)

// prepare sets the loop up for a section.
func (l *Loop) prepare(s Section, hist *stats.Hist) {
	l.section, l.order, l.hist = s, s.order(), hist
	l.next, l.timed, l.bad, l.out = 0, false, nil, Outcome{}
	copy(l.bufs.pool, l.bufs.pristine)
	l.free = l.free[:0]
	for i := range s.Work.Depth {
		l.free = append(l.free, i)
		l.ops[i], l.turn[i] = none, 0
	}
	runtime.GC() // what earlier sections left is not collected in this one
}

func (l *Loop) finished(now, end int64) bool {
	if l.section.Ops > 0 {
		return int64(l.next) >= l.section.Ops
	}
	return l.timed && now >= end
}

// step keeps the queue full and takes back what is complete. It returns the
// time at which that was.
func (l *Loop) step(now int64) int64 {
	l.batch = l.batch[:0]
	for len(l.free) > 0 && (l.section.Ops == 0 || int64(l.next) < l.section.Ops) {
		place := l.free[len(l.free)-1]
		l.free = l.free[:len(l.free)-1]
		l.fill(place)
		l.batch = append(l.batch, &l.reqs[place])
	}
	l.submit()
	if l.bad != nil {
		return now
	}
	return l.reap()
}

// fill makes the next operation of the section in a place.
func (l *Loop) fill(place int) {
	s, r := &l.section, &l.reqs[place]
	size := s.Work.BlockSize
	op := l.next
	l.next++
	offset := int64(l.order.at(op)) * int64(size)
	l.ops[place] = op
	r.Tag, r.Offset, r.Err = uint64(place), s.Base+offset, nil
	r.Stamps = blockdev.Stamps{}
	if s.Work.Reads == 100 {
		r.Op, r.Buf = blockdev.Read, l.bufs.read[place*size:][:size:size]
		return
	}
	// Each place goes round the blocks of the pool that are its own, so that
	// none is stamped while the device still reads it.
	depth := s.Work.Depth
	at := (place + depth*l.turn[place]) * size
	if l.turn[place]++; (place+depth*l.turn[place]+1)*size > len(l.bufs.pool) {
		l.turn[place] = 0
	}
	r.Op, r.Buf = blockdev.Write, l.bufs.pool[at:][:size:size]
	for u := 0; u < size; u += s.Unit {
		putStamp(r.Buf[u:], s.Run, offset+int64(u), op, s.Tag, uint32(at+u))
	}
}

// submit hands the batch over; a queue that takes only part of it is full, and
// the rest waits in its places for the next step.
func (l *Loop) submit() {
	now := blockdev.Now()
	for _, r := range l.batch {
		l.start[r.Tag] = now
	}
	for rest := l.batch; len(rest) > 0; {
		n, err := l.queue.Submit(rest)
		if err != nil {
			l.bad = fmt.Errorf("submitting: %w", err)
			return
		}
		if rest = rest[n:]; len(rest) == 0 {
			return
		}
		free := len(l.free)
		if l.reap(); l.bad == nil && n == 0 && len(l.free) == free {
			l.bad = errors.New("the queue takes no request and gives none back")
		}
		if l.bad != nil {
			return
		}
	}
}

// reap takes back at least one completed request and accounts for it.
func (l *Loop) reap() int64 {
	n, err := l.queue.Reap(l.done, 1)
	now := blockdev.Now()
	if err != nil {
		l.bad = fmt.Errorf("reaping: %w", err)
		return now
	}
	for _, r := range l.done[:n] {
		l.account(r, now)
	}
	return now
}

func (l *Loop) account(r *blockdev.Request, now int64) {
	place := int(r.Tag)
	l.free = append(l.free, place)
	if r.Err != nil {
		if l.bad == nil {
			l.bad = r.Err
		}
		return
	}
	if l.by != nil {
		l.by.Record(r, now-l.start[place])
	}
	if l.timed {
		l.out.Ops++
		l.out.Bytes += int64(len(r.Buf))
		l.hist.Record(now - l.start[place])
		l.out.Stages.add(&r.Stamps)
	}
	if r.Op == blockdev.Read && l.ops[place]%checkEvery == checkEvery-1 && l.bad == nil {
		l.bad = l.glance(r, l.ops[place])
	}
}

// glance looks at the stamp of one unit of a block just read, another at every
// look.
func (l *Loop) glance(r *blockdev.Request, op uint64) error {
	s := &l.section
	units := uint64(len(r.Buf) / s.Unit)
	at := int64(op / checkEvery % units * uint64(s.Unit))
	offset := r.Offset - s.Base + at
	if stampOK(r.Buf[at:], s.Run, offset, uint64(offset/fillBlock), s.Source) {
		return nil
	}
	return l.mismatch(r.Buf[at:][:s.Unit], offset, uint64(offset/fillBlock), s.Source)
}

func (l *Loop) mismatch(unit []byte, offset int64, op uint64, tag Tag) error {
	return &MismatchError{Offset: offset, Want: tag, Found: describe(unit, l.section.Run, offset, op, tag)}
}

// finish stops the clock and waits for what is still in flight, which is not
// counted.
func (l *Loop) finish(before meter, began int64) (Outcome, error) {
	l.out.Elapsed = time.Duration(blockdev.Now() - began)
	l.out.CPU, l.out.GC = before.since()
	l.timed = false
	for len(l.free) < l.section.Work.Depth {
		free := len(l.free)
		l.reap()
		if len(l.free) == free {
			break // the queue gives nothing back any more; l.bad says why
		}
	}
	l.out.Issued = int64(l.next)
	return l.out, l.bad
}
