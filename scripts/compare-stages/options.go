package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"time"
)

type options struct {
	rounds int
	time   time.Duration
	engine string
}

func parse(args []string, stderr io.Writer) (o options, err error) {
	f := flag.NewFlagSet("compare-stages", flag.ContinueOnError)
	f.SetOutput(stderr)
	f.IntVar(&o.rounds, "rounds", 5, "turns of the bench and fio")
	f.DurationVar(&o.time, "time", 2*time.Second, "time of one run, whole seconds")
	f.StringVar(&o.engine, "engine", "io_uring", "io_uring or direct, whose peer in fio is psync")
	err = f.Parse(args)
	switch {
	case err != nil:
	case f.NArg() > 0:
		err = fmt.Errorf("unexpected argument %q", f.Arg(0))
	case o.rounds < 1 || o.time < time.Second || o.time%time.Second != 0:
		err = errors.New("--rounds must be at least 1, --time whole seconds")
	case o.engine != "io_uring" && o.engine != "direct":
		err = fmt.Errorf("--engine %q: want io_uring or direct", o.engine)
	}
	return o, err
}
