package cipher

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"time"
)

// Run measures what the plan asks for on the calling goroutine's thread. It
// stops early with the context's error.
func Run(ctx context.Context, p Plan) (res *Result, err error) {
	if err := p.validate(); err != nil {
		return nil, err
	}
	subs, err := subjects(p)
	if err != nil {
		return nil, err
	}
	defer func() {
		for _, s := range subs {
			if s.close != nil {
				s.close()
			}
		}
	}()
	r, err := newRunner(p, subs)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, r.close()) }()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := r.rounds(ctx); err != nil {
		return nil, err
	}
	return r.result(), nil
}

// runner holds what a run measures, sample by sample.
type runner struct {
	plan          Plan
	cache, memory *memory
	subs          []*subject
	rates         [][]float64       // of each subject, GB/s by round
	loops         map[int]func(int) // bare AES instructions
	bounds        map[int][]float64 // AES instructions times their width, GB/s by round
	clock         []float64         // GHz by round
	rng           *rand.Rand
}

func newRunner(p Plan, subs []*subject) (*runner, error) {
	r := &runner{
		plan: p, subs: subs, rates: make([][]float64, len(subs)),
		loops: aesLoops(), bounds: map[int][]float64{},
		rng: rand.New(rand.NewPCG(p.Seed, 0)),
	}
	var err error
	if r.cache, err = newMemory(cacheBytes, p.Seed); err != nil {
		return nil, err
	}
	size := 2 * window
	if slices.ContainsFunc(p.Sets, Set.large) {
		size = memoryBytes()
	}
	if r.memory, err = newMemory(size, p.Seed); err != nil {
		return nil, errors.Join(err, r.cache.close())
	}
	return r, nil
}

func (r *runner) close() error { return errors.Join(r.cache.close(), r.memory.close()) }

// rounds takes one sample of everything, yardsticks too, in every round, in
// random order.
func (r *runner) rounds(ctx context.Context) error {
	samples := r.yardsticks()
	for i, s := range r.subs {
		samples = append(samples, func() error {
			rate, err := r.sample(s)
			r.rates[i] = append(r.rates[i], rate)
			if err != nil {
				return fmt.Errorf("measuring %s of %s: %w", s.row.Op, s.row.Cipher, err)
			}
			return nil
		})
	}
	for range r.plan.Rounds {
		r.rng.Shuffle(len(samples), func(i, j int) { samples[i], samples[j] = samples[j], samples[i] })
		for _, sample := range samples {
			if err := ctx.Err(); err != nil {
				return fmt.Errorf("measuring ciphers: %w", err)
			}
			if err := sample(); err != nil {
				return err
			}
		}
	}
	return nil
}

// yardsticks are the samples of the AES unit and of the clock.
func (r *runner) yardsticks() (samples []func() error) {
	for width, loop := range r.loops {
		samples = append(samples, func() error {
			perSecond := repeat(r.plan.Slice, loop) * aesPerTurn
			r.bounds[width] = append(r.bounds[width], perSecond*float64(width)/1e9)
			return nil
		})
	}
	if clockLoop != nil {
		samples = append(samples, func() error {
			r.clock = append(r.clock, repeat(r.plan.Slice, clockLoop)*clockCycles/1e9)
			return nil
		})
	}
	return samples
}

// repeat returns how many turns a second a loop makes, over about d. The
// first, short call finds the number of turns and wakes the unit up.
func repeat(d time.Duration, loop func(turns int)) float64 {
	const probe = 2000
	t := time.Now()
	loop(probe)
	turns := int(float64(probe) * float64(d) / float64(max(1, time.Since(t))))
	turns = max(probe, turns)
	t = time.Now()
	loop(turns)
	return float64(turns) / time.Since(t).Seconds()
}

// sample returns the rate of a subject in GB/s, over about one slice. One call
// before that finds the number of calls and brings the data into the cache.
func (r *runner) sample(s *subject) (float64, error) {
	n, m := r.place(s)
	turn := func() error {
		dst, src := m.next(n)
		if s.row.InPlace {
			src = dst
		}
		return s.crypt(dst, src)
	}
	t := time.Now()
	if err := turn(); err != nil {
		return 0, err
	}
	turns := max(1, int(r.plan.Slice/max(1, time.Since(t))))
	t = time.Now()
	for range turns {
		if err := turn(); err != nil {
			return 0, err
		}
	}
	return float64(n) * float64(turns) / float64(time.Since(t).Nanoseconds()), nil
}

// place returns the bytes of a call and the buffers it walks through.
func (r *runner) place(s *subject) (int, *memory) {
	switch {
	case !s.row.Set.large():
		return cacheBytes, r.cache
	case s.row.Set == Request || s.slow:
		return request, r.memory
	}
	return window, r.memory
}
