package bench

import (
	"context"
	crand "crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync/atomic"
	"time"

	"sealbay/bench/probe"
	"sealbay/bench/stats"
	"sealbay/bench/workload"
	"sealbay/blockcrypt/blockdev"
	"sealbay/blockcrypt/xts"
)

// verifySamples and verifyBytes bound how many blocks are read again after
// each section, whichever is less.
const (
	verifySamples = 64
	verifyBytes   = 32 << 20
)

// badRounds is after how many rounds in a row that an I/O error voided the run
// gives up.
const badRounds = 3

type runner struct {
	plan    Plan
	subject Subject
	modes   []mode
	kernel  *probe.Probe // nil without probes
	watch   func(Progress)
	stop    atomic.Bool
	bufs    *workload.Buffers
	order   *rand.Rand // of the modes
	rng     *rand.Rand // of the blocks that are verified
	pace    *pace
	unit    int
	res     *Result
}

// Run carries out a plan. When ctx is cancelled it ends within moments and
// returns what whole rounds there are, as a Partial result. An error means
// that there is no result: an *IntegrityError, or a device that cannot even be
// filled.
//
// Everything in the region is overwritten.
func Run(ctx context.Context, plan Plan, subject Subject, watch func(Progress)) (res *Result, err error) {
	if err := plan.Check(); err != nil {
		return nil, err
	}
	r, err := newRunner(plan, subject, watch)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, r.close()) }()
	defer context.AfterFunc(ctx, func() { r.stop.Store(true) })()
	if err = r.prepare(); err == nil {
		err = r.rounds()
	}
	if err != nil && !errors.Is(err, workload.ErrStopped) {
		return nil, err
	}
	if r.stop.Load() {
		r.res.Status, r.res.Stopped = Partial, "interrupted"
	}
	r.res.Finished = time.Now().UTC()
	return r.res, analyse(r.res)
}

func newRunner(plan Plan, subject Subject, watch func(Progress)) (*runner, error) {
	r := &runner{plan: plan, subject: subject, watch: watch, unit: 4096, pace: newPace(),
		order: rand.New(rand.NewPCG(plan.Seed, 1)), rng: rand.New(rand.NewPCG(plan.Seed, 2))}
	block, depth := 0, 1
	for _, w := range plan.Workloads {
		block, depth, r.unit = max(block, w.BlockSize), max(depth, w.Depth), min(r.unit, w.BlockSize)
		if subject.Span < int64(w.BlockSize) || subject.Span%int64(w.BlockSize) != 0 {
			return nil, fmt.Errorf("%s: a region of %d bytes is no multiple of its blocks of %d", w.ID, subject.Span, w.BlockSize)
		}
	}
	var err error
	if r.modes, err = subject.modes(&plan); err != nil {
		return nil, err
	}
	if r.bufs, err = workload.NewBuffers(block, depth, plan.Seed); err != nil {
		return nil, err
	}
	if r.res, err = blankResult(plan, subject); err == nil {
		err = r.openProbe()
	}
	if err != nil {
		return nil, errors.Join(err, r.close())
	}
	r.expect()
	return r, nil
}

func (r *runner) close() error {
	errs := []error{r.bufs.Close()}
	if r.kernel != nil {
		errs = append(errs, r.kernel.Close())
	}
	return errors.Join(errs...)
}

// blankResult is a result with everything but figures.
func blankResult(plan Plan, subject Subject) (*Result, error) {
	impl, err := xtsName()
	if err != nil {
		return nil, err
	}
	var id [8]byte
	if _, err := crand.Read(id[:]); err != nil {
		return nil, err
	}
	info := subject.Raw.Info()
	res := &Result{
		Schema: Schema, Version: Version(), Go: runtime.Version(), Started: time.Now().UTC(),
		Status: Complete, Host: ThisHost(),
		Target: Target{
			Path: info.Path, Size: info.Size, Offset: subject.Base, Span: subject.Span,
			Sector: info.Sector, Engine: info.Engine,
			Cipher: "aes-xts-plain64, 512-bit key, 4096-byte sectors", XTS: impl,
		},
		Method: Method{
			// 53 bits, so that every JSON reader keeps it whole.
			Seed: plan.Seed, RunID: binary.LittleEndian.Uint64(id[:]) >> 11, Rounds: plan.Rounds,
			SectionSeconds: plan.Section.Seconds(), WarmupSeconds: plan.Warmup.Seconds(),
			Level: stats.Level, Resamples: stats.Resamples,
			VoidRules: fmt.Sprintf("I/O error; steal over %.0f %% of CPU time while the clock runs", 100*stealLimit),
		},
		NotMeasured: notMeasured(),
	}
	for _, w := range plan.Workloads {
		res.Workloads = append(res.Workloads, Workload{Workload: w, Pattern: w.Pattern(),
			Verdict: stats.Unresolved, RoundsVoid: map[string]int{}, Modes: map[string]*Mode{}, Rounds: []Round{}})
	}
	return res, nil
}

// xtsName asks package xts which implementation it would take.
func xtsName() (string, error) {
	key := make([]byte, 64)
	if _, err := crand.Read(key); err != nil {
		return "", err
	}
	c, err := xts.New(key, xts.Options{SectorSize: 4096})
	if err != nil {
		return "", err
	}
	defer c.Close()
	return c.Implementation(), nil
}

func notMeasured() []string {
	return []string{
		"cycles per byte",
		"CPU time of kernel threads outside this process (loop, io-wq, interrupts)",
		"dm-crypt, cipher_null and other ciphers",
		"queue depths above 1",
		"drives in steady state (SNIA preconditioning)",
	}
}

// groups returns the workloads in groups that share one fill: those that only
// read, then each that writes by itself.
func (r *runner) groups() (groups [][]int) {
	var readers []int
	for i, w := range r.plan.Workloads {
		if w.Reads == 100 {
			readers = append(readers, i)
		} else {
			groups = append(groups, []int{i})
		}
	}
	if readers != nil {
		groups = append([][]int{readers}, groups...)
	}
	return groups
}

// rounds runs rounds until each workload has as many valid ones as planned;
// void rounds are made up for by up to as many again. Rounds of different
// workloads are interleaved.
func (r *runner) rounds() error {
	bad := 0
	for n := 1; n <= 2*r.plan.Rounds && r.missing(); n++ {
		var failed error
		for _, group := range r.groups() {
			if !r.lacks(group) {
				continue
			}
			err := r.round(n, group)
			if err != nil && !isIO(err) {
				return err
			}
			failed = errors.Join(failed, err)
		}
		if failed == nil {
			bad = 0
		} else if bad++; bad == badRounds {
			r.res.Status = Partial
			r.res.Stopped = fmt.Sprintf("%d rounds in a row had I/O errors, the last: %v", bad, failed)
			return nil
		}
	}
	return nil
}

// missing reports whether any workload lacks valid rounds.
func (r *runner) missing() bool { return slices.ContainsFunc(r.groups(), r.lacks) }

func (r *runner) lacks(group []int) bool {
	return slices.ContainsFunc(group, func(w int) bool {
		valid := 0
		for _, round := range r.res.Workloads[w].Rounds {
			if round.Void == "" {
				valid++
			}
		}
		return valid < r.plan.Rounds
	})
}

// round is one round of a group: every mode once, in random order. An I/O
// error voids it, and is returned.
func (r *runner) round(n int, group []int) error {
	rounds := make([]Round, len(group))
	for i := range rounds {
		rounds[i] = Round{N: n, Modes: map[string]*Sample{}}
	}
	passed := make([]jiffies, len(group))
	var failed error
	for _, m := range r.order.Perm(len(r.modes)) {
		name := r.modes[m].name
		turns, err := r.turn(n, group, m)
		for i := range group {
			rounds[i].Order = append(rounds[i].Order, name)
			if i < len(turns) {
				rounds[i].Modes[name] = turns[i].sample
				passed[i].steal += turns[i].jiffies.steal
				passed[i].total += turns[i].jiffies.total
			}
		}
		if err != nil {
			failed = fmt.Errorf("mode %s: %w", name, err)
			break
		}
	}
	if failed != nil && !isIO(failed) {
		return failed
	}
	for i, w := range group {
		rounds[i].judge(failed, passed[i])
		if rounds[i].Void == "" {
			r.res.Workloads[w].keep(rounds[i].Modes)
		}
		r.res.Workloads[w].Rounds = append(r.res.Workloads[w].Rounds, rounds[i])
	}
	return failed
}

// isIO reports whether err is a request that the device failed.
func isIO(err error) bool {
	op := new(blockdev.OpError)
	return errors.As(err, &op)
}

// The rules that void a round, fixed before the first.
const (
	voidIO    = "I/O error"
	voidSteal = "steal"
)

// VoidRules lists them: the keys of Workload.RoundsVoid.
var VoidRules = []string{voidIO, voidSteal}

// judge applies the rules that void a round.
func (r *Round) judge(failed error, passed jiffies) {
	share, ok := passed.share()
	switch {
	case failed != nil:
		r.Void, r.Why = voidIO, failed.Error()
	case ok && share > stealLimit:
		r.Void, r.Why = voidSteal, fmt.Sprintf("%.1f %% of CPU time was stolen", 100*share)
	}
}

// turnOf is what one mode's turn at one workload gave.
type turnOf struct {
	sample  *Sample
	jiffies jiffies
}

// turn is one mode's turn at a group of workloads: fill if they read, then the
// section of each, each verified.
func (r *runner) turn(n int, group []int, m int) (turns []turnOf, err error) {
	source := workload.Tag{Mode: uint8(m + 1), Round: uint16(n)}
	if r.plan.Workloads[group[0]].ReadsData() {
		if err := r.fill(m, source); err != nil {
			return nil, err
		}
	}
	for _, w := range group {
		t, err := r.section(n, w, m, source)
		if err != nil {
			return turns, err
		}
		turns = append(turns, t)
	}
	return turns, nil
}
