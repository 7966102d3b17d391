package bench

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"sealbay/bench/stats"
	"sealbay/bench/workload"
	"sealbay/blockcrypt/blockdev"
)

// expect counts the steps of the run for its progress.
func (r *runner) expect() {
	for _, mode := range r.modes {
		if mode.name == mode.like {
			r.pace.expect("fill "+mode.like, 1, 0)
		}
		for _, group := range r.groups() {
			if r.plan.Workloads[group[0]].ReadsData() {
				r.pace.expect("fill "+mode.like, r.plan.Rounds, 0)
			}
			for _, w := range group {
				r.pace.expect(r.plan.Workloads[w].ID+" "+mode.name, r.plan.Rounds, r.plan.Warmup+r.plan.Section)
			}
		}
	}
}

// doing words a step for the watcher. Round 0 is the preparation.
func (r *runner) doing(round int, what string) string {
	switch {
	case round == 0:
		return "preparing, " + what
	case round > r.plan.Rounds && r.plan.Budget > 0:
		return fmt.Sprintf("round %d, %s", round, what)
	case round > r.plan.Rounds:
		return fmt.Sprintf("round %d in place of a void one, %s", round, what)
	}
	return fmt.Sprintf("round %d of %d, %s", round, r.plan.Rounds, what)
}

// step tells the watcher what begins and notes how long it takes.
func (r *runner) step(kind, doing string, do func() error) error {
	if r.stop.Load() {
		return workload.ErrStopped
	}
	if r.watch != nil {
		r.watch(r.pace.progress(doing, r.plan.Budget))
	}
	began := time.Now()
	err := do()
	r.pace.passed(kind, time.Since(began))
	return err
}

// prepare writes the whole region once in each way, encrypted last, so that no
// mode measures the first touch of a block, and proves that the bench sees
// what it should: the fills read back, and after the last no trace of those
// before, nor of its own plaintext, is left on the raw device.
func (r *runner) prepare() error {
	for _, last := range []bool{false, true} {
		for m, mode := range r.modes {
			if mode.name != mode.like || (mode.name == Encrypted) != last {
				continue
			}
			if err := r.fill(m, workload.Tag{Mode: uint8(m + 1)}); err != nil {
				return fmt.Errorf("preparing, mode %s: %w", mode.name, err)
			}
		}
	}
	return r.scan()
}

// fill writes the whole region as mode m and verifies a sample.
func (r *runner) fill(m int, tag workload.Tag) error {
	mode := r.modes[m]
	s := workload.FillSection(r.base(m), tag)
	doing := r.doing(int(tag.Round), "filling "+mode.name)
	return r.step("fill "+mode.like, doing, func() error {
		_, err := r.drive(mode, s, stats.NewHist(), nil)
		return r.integrity(err, mode.name, "fill", int(tag.Round))
	})
}

// base is what all sections of mode m have in common.
func (r *runner) base(m int) workload.Section {
	return workload.Section{Base: r.modes[m].base, Span: r.subject.Span, Run: r.res.Method.RunID, Unit: r.unit}
}

// section runs one workload in one mode.
func (r *runner) section(n, w, m int, source workload.Tag) (t turnOf, err error) {
	mode, work := r.modes[m], r.plan.Workloads[w]
	s := r.base(m)
	s.Work, s.Warmup, s.Length = work, r.plan.Warmup, r.plan.Section
	s.Source, s.Tag = source, workload.Tag{Mode: uint8(m + 1), Step: uint8(w + 1), Round: uint16(n)}
	s.Order = r.plan.Seed ^ uint64(n)<<32 ^ uint64(w)<<56 // not of the mode
	doing := r.doing(n, work.ID+" "+mode.name)
	err = r.step(work.ID+" "+mode.name, doing, func() (err error) {
		hist := stats.NewHist()
		by, err := r.observe(mode, work.Depth)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, by.close()) }()
		before, err := r.plan.meter()
		if err != nil {
			return err
		}
		out, err := r.drive(mode, s, hist, by)
		if err != nil {
			return r.integrity(err, mode.name, work.ID, n)
		}
		after, err := r.plan.meter()
		if err != nil {
			return err
		}
		t.passed = after.since(before)
		if t.sample, err = sample(out, hist, t.passed); err == nil && by != nil {
			t.sample.observed(by.rec)
		}
		return err
	})
	return t, err
}

// drive runs a section on a mode's device and verifies it.
func (r *runner) drive(m mode, s workload.Section, hist *stats.Hist, by *observer) (out workload.Outcome, err error) {
	var o workload.Observer // a nil *observer in it would not be nil
	if by != nil {
		o = by
	}
	l, err := workload.Open(m.dev, s.Work, r.bufs, &r.stop, o)
	if err != nil {
		return out, err
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	if out, err = l.Run(s, hist); err != nil {
		return out, err
	}
	return out, l.Verify(min(verifySamples, verifyBytes/s.Work.BlockSize), r.rng)
}

// integrity makes an IntegrityError of a mismatch.
func (r *runner) integrity(err error, mode, step string, round int) error {
	if bad := new(workload.MismatchError); errors.As(err, &bad) {
		return &IntegrityError{Mode: mode, Step: step, Round: round, Err: bad}
	}
	return err
}

// Bounds of the search for plaintext: all of a region of 1 GiB, a sample of a
// larger one.
const (
	scanBlock = 1 << 20
	scanMost  = 1 << 30
)

// scan searches the raw device, which was filled plain first and encrypted
// then, for the run's number. It stands at the head of every 4096 bytes of
// either fill: found, either the volume wrote plaintext, or it did not write
// where plain did, and the two would not be comparable.
func (r *runner) scan() error {
	raw, err := blockdev.NewSync(r.subject.Raw)
	if err != nil {
		return err
	}
	defer raw.Close() // only read
	var mark [8]byte
	binary.LittleEndian.PutUint64(mark[:], r.res.Method.RunID)
	buf := make([]byte, scanBlock)
	step := max(1, (r.subject.Span+scanMost-1)/scanMost) * scanBlock
	for off := r.subject.Base; off < r.subject.Base+r.subject.Span; off += step {
		if _, err := raw.ReadAt(buf, off); err != nil {
			return fmt.Errorf("searching the raw device for plaintext: %w", err)
		}
		if i := bytes.Index(buf, mark[:]); i >= 0 {
			return &IntegrityError{Mode: Encrypted, Step: "fill", Err: fmt.Errorf("%w: at byte %d", ErrPlaintext, off+int64(i))}
		}
		r.res.Method.PlaintextScanned += scanBlock
	}
	return nil
}
