package bench

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"sealbay/bench/stats"
	"sealbay/bench/workload"
	"sealbay/blockcrypt/blockdev"
)

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
// void rounds are made up for by up to as many again. With a budget it goes on
// until every judged interval is narrow. Rounds of different workloads are
// interleaved.
func (r *runner) rounds() error {
	bad := 0
	for n := 1; n <= maxRounds; n++ {
		groups := r.unfinished(n)
		if len(groups) == 0 {
			return nil
		}
		var failed error
		for _, group := range groups {
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

// unfinished returns the groups that round n is for, and notes why there are
// no more when there are none.
func (r *runner) unfinished(n int) (groups [][]int) {
	for _, group := range r.groups() {
		if n <= 2*r.plan.Rounds && slices.ContainsFunc(group, r.lacks) {
			groups = append(groups, group)
		}
	}
	m := &r.res.Method
	switch m.Ended = EndedRounds; {
	case len(groups) > 0:
		return groups
	case n > 2*r.plan.Rounds && slices.ContainsFunc(r.all(), r.lacks):
		m.Ended = EndedVoid
		return nil
	case r.plan.Budget == 0:
		return nil
	case time.Since(r.pace.began) >= r.plan.Budget:
		m.Ended = EndedBudget
		return nil
	}
	for _, group := range r.groups() {
		if slices.ContainsFunc(group, r.wide) {
			groups = append(groups, group)
		}
	}
	if len(groups) == 0 {
		m.Ended = EndedNarrow
	}
	return groups
}

// all returns every workload's index.
func (r *runner) all() []int { return slices.Concat(r.groups()...) }

// lacks reports whether workload w has fewer valid rounds than planned.
func (r *runner) lacks(w int) bool { return len(r.res.Workloads[w].valid()) < r.plan.Rounds }

// narrow is the half-width at which an interval needs no more rounds.
const narrow = 0.01

// wide reports whether an interval that workload w is judged by is wider.
func (r *runner) wide(w int) bool {
	valid := r.res.Workloads[w].valid()
	for _, f := range []figure{mbps, p50} {
		enc, plain, ok := paired(valid, f, Encrypted, Plain)
		if !ok {
			return false // no round will narrow what cannot be told
		}
		if e := stats.Compare(enc, plain, r.plan.Seed); e.CI == nil || e.CI.HalfWidth() > narrow {
			return true
		}
	}
	return false
}

// round is one round of a group: every mode once, in random order. An I/O
// error voids it, and is returned.
func (r *runner) round(n int, group []int) error {
	rounds := make([]Round, len(group))
	for i := range rounds {
		rounds[i] = Round{N: n, Modes: map[string]*Sample{}}
	}
	passed := make([]meter, len(group))
	var failed error
	for _, m := range r.order.Perm(len(r.modes)) {
		name := r.modes[m].name
		turns, err := r.turn(n, group, m)
		for i := range group {
			rounds[i].Order = append(rounds[i].Order, name)
			if i < len(turns) {
				rounds[i].Modes[name] = turns[i].sample
				passed[i] = passed[i].plus(turns[i].passed)
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
	voidHeat  = "throttling"
)

// VoidRules lists them: the keys of Workload.RoundsVoid.
var VoidRules = []string{voidIO, voidSteal, voidHeat}

// judge applies the rules that void a round.
func (r *Round) judge(failed error, passed meter) {
	share, ok := passed.stolen()
	switch {
	case failed != nil:
		r.Void, r.Why = voidIO, failed.Error()
	case ok && share > stealLimit && passed.steal > 1: // one tick may have begun before
		r.Void, r.Why = voidSteal, fmt.Sprintf("%.1f %% of CPU time was stolen", 100*share)
	case passed.throttled > 0:
		r.Void, r.Why = voidHeat, fmt.Sprintf("the processor was slowed for heat %d times", passed.throttled)
	}
}

// turnOf is what one mode's turn at one workload gave.
type turnOf struct {
	sample *Sample
	passed meter
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
