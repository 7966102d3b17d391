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
	if plan.meter == nil {
		plan.meter = readMeter
	}
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
			Seed: plan.Seed, RunID: binary.LittleEndian.Uint64(id[:]) >> 11, Rounds: plan.Rounds, BudgetSeconds: plan.Budget.Seconds(),
			SectionSeconds: plan.Section.Seconds(), WarmupSeconds: plan.Warmup.Seconds(),
			Level: stats.Level, Resamples: stats.Resamples,
			VoidRules: fmt.Sprintf("I/O error; steal over %.0f %% of CPU time, and over one clock tick, while the clock runs; thermal throttling meanwhile", 100*stealLimit),
		},
		NotMeasured: notMeasured(plan.Workloads),
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

func notMeasured(ws []workload.Workload) []string {
	out := []string{
		"cycles per byte",
		"CPU time of kernel threads outside this process (loop, io-wq, interrupts)",
		"dm-crypt, cipher_null and other ciphers",
		"drives in steady state (SNIA preconditioning)",
	}
	if !slices.ContainsFunc(ws, func(w workload.Workload) bool { return w.Depth > 1 }) {
		out = append(out, "queue depths above 1")
	}
	if _, ok, _ := throttled("/sys"); !ok {
		out = append(out, "thermal throttling: this processor shows no counters of it")
	}
	return out
}
