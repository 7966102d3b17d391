package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"sealbay/bench"
	"sealbay/bench/report"
	"sealbay/bench/target"
	"sealbay/bench/workload"
	"sealbay/blockcrypt/blockdev/engine"
)

// runFlags are the flags of "sealbench run".
type runFlags struct {
	target    target.Options
	size      bytesValue
	workloads string
	rounds    int
	section   time.Duration
	budget    time.Duration
	quick     bool
	probes    bool
	copy      bool
	seed      uint64
	json      string
}

const runLong = `Run the same load plain and encrypted, in turns, on the same bytes of the same
target, and say what encryption costs.

The target's first --size bytes are overwritten and left zeroed. A block device
that is in use, partitioned or holds data is refused, as is a file with
content, unless --i-know-this-erases names it. Without --target a temporary
file of 1 GiB is made in the current folder.`

const runExample = `  sealbench run
  sealbench run --target /dev/nvme1n1 --rounds 20 --json cost.json
  sealbench run --target test.img --size 256MiB --quick --workloads W1,W3`

func runCommand() *cobra.Command {
	var f runFlags
	c := &cobra.Command{
		Use: "run", Short: "Compare encrypted with plain I/O on a drive or file",
		Long: runLong, Example: runExample, Args: noArgs, DisableFlagsInUseLine: true,
		RunE: func(c *cobra.Command, _ []string) error {
			return f.run(c.Context(), c.Flags().Changed, c.OutOrStdout(), c.ErrOrStderr())
		},
	}
	fl := c.Flags()
	fl.SortFlags = false
	fl.StringVar(&f.target.Path, "target", "", "file or block device at `path`\n(default: a temporary file)")
	fl.Var(&f.size, "size", "how many `bytes` of it to use, such as 256MiB\n(default: 1GiB, or all if that is less)")
	fl.StringVar(&f.target.Erases, "i-know-this-erases", "", "path or serial of a target that holds data:\nrun on it all the same (`name`)")
	fl.StringVar(&f.target.State, "state", "", "run on the Sealbay volume that is there, with\nthe local master key in `folder`: its data are\nerased, its header stays")
	fl.StringVar(&f.target.Engine, "engine", engine.Auto, "`name`: "+strings.Join(engine.Names(), ", "))
	fl.StringVar(&f.workloads, "workloads", "", "`list` such as W1,W3 or randread:128KiB:8\n(default: W1 to W4)")
	fl.IntVar(&f.rounds, "rounds", 20, "rounds of each workload")
	fl.DurationVar(&f.section, "round-time", time.Second, "how long the clock runs for a mode in a round\n")
	fl.DurationVar(&f.budget, "budget", 0, "go on after --rounds until every interval is\nwithin 1 % of its ratio, at most so long in all")
	fl.BoolVar(&f.quick, "quick", false, "256MiB, 5 rounds of 200ms: a first impression")
	fl.BoolVar(&f.copy, "plain-copy", false, "also measure plain I/O with a copy where\nthe cipher would be")
	fl.BoolVar(&f.probes, "probes", false, "also say where each microsecond goes, by the\nkernel's own stamps (needs root)")
	fl.Uint64Var(&f.seed, "seed", 0, "of everything random (default: a new one)")
	fl.StringVar(&f.json, "json", "", "also write JSON to `file`, - is standard output")
	return c
}

func noArgs(_ *cobra.Command, args []string) error {
	if len(args) > 0 {
		return errors.Join(errUsage, fmt.Errorf("unexpected argument %q", args[0]))
	}
	return nil
}

// plan turns flags into values; set tells which flags were given.
func (f *runFlags) plan(set func(string) bool) (bench.Plan, error) {
	if f.quick {
		f.applyQuick(set)
	}
	ws, err := workload.Select(f.workloads)
	if err != nil {
		return bench.Plan{}, err
	}
	if !set("seed") {
		f.seed = rand.Uint64() >> 11 // JSON readers keep 53 bits
	}
	f.target.Size = int64(f.size)
	p := bench.Plan{Workloads: ws, Rounds: f.rounds, Budget: f.budget, Section: f.section, Warmup: f.section / 5, Seed: f.seed, Copy: f.copy, Probes: f.probes}
	if !slices.Contains(engine.Names(), f.target.Engine) {
		return p, fmt.Errorf("--engine %q: want one of %s", f.target.Engine, strings.Join(engine.Names(), ", "))
	}
	if f.size > 0 && f.size < target.MinSize {
		return p, fmt.Errorf("--size %d: the bench needs at least %d MiB", f.size, target.MinSize>>20)
	}
	return p, p.Check()
}

func (f *runFlags) applyQuick(set func(string) bool) {
	f.target.Most = 256 << 20
	if !set("rounds") {
		f.rounds = 5
	}
	if !set("round-time") {
		f.section = 200 * time.Millisecond
	}
}

func (f *runFlags) run(ctx context.Context, set func(string) bool, stdout, stderr io.Writer) (err error) {
	plan, err := f.plan(set)
	if err != nil {
		return errors.Join(errUsage, err)
	}
	out, err := createJSON(f.json, stdout)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.drop()) }()
	res, err := f.measure(ctx, plan, stderr)
	if err != nil {
		return err
	}
	people := stdout
	if f.json == "-" {
		people = stderr
	}
	if err := errors.Join(report.Text(people, res, colorful(people)), out.write(func(w io.Writer) error { return report.JSON(w, res) })); err != nil {
		return err
	}
	if res.Status != bench.Complete {
		return errPartial
	}
	return nil
}

// measure opens the target, runs the plan and closes the target.
func (f *runFlags) measure(ctx context.Context, plan bench.Plan, stderr io.Writer) (res *bench.Result, err error) {
	t, err := target.Open(f.target)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, t.Close()) }()
	ui := newProgress(stderr)
	defer ui.end()
	subject := bench.Subject{Path: t.Path(), Raw: t.Raw, Base: target.DataOffset, Volume: t.Volume, Span: t.Span}
	res, err = bench.Run(ctx, plan, subject, ui.show)
	if err != nil {
		return nil, err
	}
	id := &t.Identity
	res.Target.Path, res.Target.Kind, res.Target.Model, res.Target.Serial = id.Path, id.Kind, id.Model, id.Serial
	res.Target.FileSystem, res.Target.Backing = id.FileSystem, id.Backing
	return res, nil
}
