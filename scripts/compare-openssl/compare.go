package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
)

// job is what both sides do.
type job struct {
	bits, sector int
	decrypt      bool
}

func (j job) op() string {
	if j.decrypt {
		return "decrypt"
	}
	return "encrypt"
}

// rates are in GB/s, by round.
type rates struct{ openssl, single, batch []float64 }

func exit(err error, stderr io.Writer) int {
	if err != nil {
		fmt.Fprintln(stderr, "compare-openssl:", err)
		return 1
	}
	return 0
}

func compare(ctx context.Context, o *options, stdout io.Writer) (err error) {
	dir, err := os.MkdirTemp("", "compare-openssl")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	program, err := build(ctx, dir)
	if err != nil {
		return err
	}
	version, err := output(ctx, "openssl", "version")
	if err != nil {
		return err
	}
	jobs := jobs(o)
	found := map[job]*rates{}
	for _, j := range jobs {
		found[j] = new(rates)
	}
	rng := rand.New(rand.NewPCG(o.seed, 0))
	for range o.rounds {
		rng.Shuffle(len(jobs), func(a, b int) { jobs[a], jobs[b] = jobs[b], jobs[a] })
		for _, j := range jobs {
			if err := round(ctx, o, program, j, found[j], rng.IntN(2) == 0); err != nil {
				return err
			}
		}
	}
	return table(stdout, o, string(version), found)
}

func jobs(o *options) (all []job) {
	for _, bits := range o.bits {
		for _, sector := range o.sectors {
			all = append(all, job{bits, sector, false}, job{bits, sector, true})
		}
	}
	return all
}

// round measures both sides once.
func round(ctx context.Context, o *options, program string, j job, r *rates, oursFirst bool) error {
	theirs := func() error {
		rate, err := openssl(ctx, j, o.seconds)
		r.openssl = append(r.openssl, rate)
		return err
	}
	ours := func() error {
		single, batch, err := ours(ctx, program, &o.impl, j)
		r.single, r.batch = append(r.single, single), append(r.batch, batch)
		return err
	}
	if oursFirst {
		return errors.Join(ours(), theirs())
	}
	return errors.Join(theirs(), ours())
}
