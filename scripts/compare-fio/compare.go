package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
)

// series is what a job of a pair gave over the rounds.
type series struct {
	job
	pair
	ours, fio []sample
}

func exit(err error, stderr io.Writer) int {
	if err != nil {
		fmt.Fprintln(stderr, "compare-fio:", err)
		return 1
	}
	return 0
}

func compare(ctx context.Context, o *options, stdout io.Writer) (err error) {
	dir, err := os.MkdirTemp("", "compare-fio")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	program, err := build(ctx, dir)
	if err != nil {
		return err
	}
	target, remove, err := place(ctx, o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, remove()) }()
	all := plan(o)
	fmt.Fprintf(stdout, "%s, %d MiB, %d rounds of %v, seed %d\n", describe(ctx, target), o.size>>20, o.rounds, o.time, o.seed)
	if err := measure(ctx, o, target, program, all, stdout); err != nil {
		return err
	}
	table(stdout, all, o.seed)
	return nil
}

func plan(o *options) (all []*series) {
	for _, p := range o.pairs {
		for _, j := range o.jobs {
			if p.suits(j) {
				all = append(all, &series{job: j, pair: p})
			}
		}
	}
	return all
}

// measure runs each round's jobs in random order, and of each job the two
// sides in random order: what drifts, drifts for both.
func measure(ctx context.Context, o *options, target, program string, all []*series, stdout io.Writer) error {
	us, them := ours(program, o), fio(o)
	rng := rand.New(rand.NewPCG(o.seed, 0))
	for round := range o.rounds {
		for _, i := range rng.Perm(len(all)) {
			if err := all[i].once(ctx, target, us, them, rng.IntN(2) == 0); err != nil {
				return err
			}
		}
		fmt.Fprintf(stdout, "round %d of %d done\n", round+1, o.rounds)
	}
	return nil
}

func (s *series) once(ctx context.Context, target string, us, them runner, oursFirst bool) error {
	var a, b sample
	left := func() (err error) { a, err = us(ctx, target, s.job, s.pair.ours); return err }
	right := func() (err error) { b, err = them(ctx, target, s.job, s.pair.fio); return err }
	if !oursFirst {
		left, right = right, left
	}
	if err := left(); err != nil {
		return err
	}
	if err := right(); err != nil {
		return err
	}
	s.ours, s.fio = append(s.ours, a), append(s.fio, b)
	return nil
}
