package stats

import (
	"flag"
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

var seedFlag = flag.Uint64("seed", 0, "seed of the randomised tests; 0 takes a new one")

// newRand prints its seed: `go test -args -seed N` replays a failure.
func newRand(t *testing.T) *rand.Rand {
	seed := *seedFlag
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	t.Logf("seed %d", seed)
	return rand.New(rand.NewPCG(seed, 1))
}

// The spatial test data A of Efron and Tibshirani (1993), table 14.1, with the
// figures of their section 14.3 for the plug-in variance: theta 171.5, a-hat
// .061, z0 about .146, 90 % interval (115.8, 259.6) from 2000 resamples.
var spatialA = []float64{48, 36, 20, 29, 42, 42, 20, 42, 22, 41, 45, 14, 6,
	0, 33, 28, 34, 4, 32, 24, 47, 41, 24, 26, 30, 41}

func variance(x []float64) float64 {
	mean, sum := Mean(x), 0.0
	for _, v := range x {
		sum += (v - mean) * (v - mean)
	}
	return sum / float64(len(x))
}

func near(t *testing.T, what string, got, want, tolerance float64) {
	t.Helper()
	if math.IsNaN(got) || math.Abs(got-want) > tolerance {
		t.Errorf("%s is %.4f, want %.4f within %.4f", what, got, want, tolerance)
	}
}

func TestBCaPublishedExample(t *testing.T) {
	rng := newRand(t)
	near(t, "theta", variance(spatialA), 171.5, 0.05)
	near(t, "acceleration", acceleration(spatialA, variance), 0.061, 0.0005)
	// z0 of 2000 resamples has a standard error of 0.028.
	boot := resample(spatialA, variance, 100_000, rng)
	near(t, "z0", bias(boot, variance(spatialA)), 0.146, 0.07)
	ci := BCa(spatialA, variance, 0.90, 100_000, rng)
	// Their own interval carries the error of 2000 resamples: 3 % of the ends.
	near(t, "low end", ci.Low, 115.8, 3.5)
	near(t, "high end", ci.High, 259.6, 7.8)
	// The percentile interval is (100.8, 233.9): the correction must show.
	if ci.Low < 108 || ci.High < 245 {
		t.Errorf("interval %v is not corrected for bias and acceleration", ci)
	}
}

// Coverage on known truth: of many intervals at 95 %, so many hold the true
// ratio. METHOD.md quotes these shares; each bound lies three standard errors
// of 1000 trials below what was seen.
func TestCoverage(t *testing.T) {
	for _, c := range []struct {
		name   string
		rounds int
		low    float64
		draw   func(*rand.Rand) float64 // a log ratio with mean zero
	}{
		{"normal, 20 rounds", 20, 0.92, func(r *rand.Rand) float64 { return 0.02 * r.NormFloat64() }},
		{"normal, 5 rounds", 5, 0.875, func(r *rand.Rand) float64 { return 0.02 * r.NormFloat64() }},
		{"skewed, 20 rounds", 20, 0.90, func(r *rand.Rand) float64 { return 0.02 * (r.ExpFloat64() - 1) }},
		{"uniform, 40 rounds", 40, 0.925, func(r *rand.Rand) float64 { return 0.02 * (r.Float64() - 0.5) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			share := coverage(newRand(t), c.rounds, c.draw)
			t.Logf("95 %% intervals hold the truth in %.1f %% of cases", 100*share)
			if share < c.low || share > 0.985 {
				t.Errorf("coverage %.3f, want %.3f to 0.985", share, c.low)
			}
		})
	}
}

func coverage(rng *rand.Rand, rounds int, draw func(*rand.Rand) float64) float64 {
	const trials, truth = 1000, 0.93
	hits := 0
	over, under := make([]float64, rounds), make([]float64, rounds)
	for range trials {
		for i := range over {
			under[i] = 1000 * math.Exp(0.3*rng.NormFloat64()) // drift common to both
			over[i] = under[i] * truth * math.Exp(draw(rng))
		}
		if compare(over, under, rng.Uint64(), 1000).CI.Contains(truth) {
			hits++
		}
	}
	return float64(hits) / trials
}

func TestStudent(t *testing.T) {
	// 97.5 % quantiles from any table of Student's t.
	for df, want := range map[float64]float64{4: 2.776, 9: 2.262, 19: 2.093, 60: 2.000} {
		near(t, "t", student(probit(0.975), df), want, 0.01)
	}
}

func TestCompare(t *testing.T) {
	over := []float64{90, 45, 180, 91, 18}
	under := []float64{100, 50, 200, 100, 20}
	e := Compare(over, under, 7)
	near(t, "ratio", e.Ratio, math.Pow(0.9*0.9*0.9*0.91*0.9, 0.2), 1e-12)
	if e.Rounds != 5 || e.CI == nil || !e.CI.Contains(e.Ratio) || e.CI.Low < 0.9-1e-9 || e.CI.High > 0.91 {
		t.Errorf("effect %+v, interval %+v", e, e.CI)
	}
	if again := Compare(over, under, 7); *again.CI != *e.CI {
		t.Errorf("the same seed gave %+v and %+v", e.CI, again.CI)
	}
	if few := Compare(over[:4], under[:4], 7); few.CI != nil || few.Rounds != 4 {
		t.Errorf("four rounds gave %+v with interval %+v", few, few.CI)
	}
	if flat := Compare([]float64{9, 9, 9, 9, 9}, []float64{10, 10, 10, 10, 10}, 7); flat.CI.Low != flat.CI.High {
		t.Errorf("rounds without spread gave %+v", flat.CI)
	}
}

func TestJudge(t *testing.T) {
	throughput, latency := Line{0.95, true}, Line{1.05, false}
	for _, c := range []struct {
		line      Line
		low, high float64
		want      Verdict
	}{
		{throughput, 0.95, 1.02, Pass},
		{throughput, 0.94, 1.02, Unresolved},
		{throughput, 0.80, 0.949, Fail},
		{throughput, 0.80, 0.95, Unresolved},
		{latency, 0.99, 1.05, Pass},
		{latency, 0.99, 1.06, Unresolved},
		{latency, 1.051, 1.2, Fail},
	} {
		if got := c.line.Judge(Effect{CI: &Interval{c.low, c.high}}); got != c.want {
			t.Errorf("%+v of [%v, %v] is %s, want %s", c.line, c.low, c.high, got, c.want)
		}
	}
	if got := throughput.Judge(Effect{Ratio: 1}); got != Unresolved {
		t.Errorf("no interval is %s, want UNRESOLVED", got)
	}
}

func TestBothAndHolds(t *testing.T) {
	for _, c := range [][3]Verdict{{Pass, Pass, Pass}, {Pass, Fail, Fail}, {Unresolved, Fail, Fail}, {Pass, Unresolved, Unresolved}} {
		if got := Both(c[0], c[1]); got != c[2] {
			t.Errorf("%s and %s are %s, want %s", c[0], c[1], got, c[2])
		}
	}
	for _, c := range []struct {
		low, high float64
		want      bool
	}{{0.97, 1.02, true}, {0.992, 0.998, true}, {0.98, 0.995, false}, {1.001, 1.02, false}} {
		if got := Holds(Effect{CI: &Interval{c.low, c.high}}); got != c.want {
			t.Errorf("A/A of [%v, %v] holds: %v, want %v", c.low, c.high, got, c.want)
		}
	}
}
