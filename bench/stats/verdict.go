package stats

// Verdict is what an interval says about a line.
type Verdict string

// The verdicts of a report.
const (
	// Pass: the whole interval lies inside the line.
	Pass Verdict = "PASS"
	// Fail: the whole interval lies outside.
	Fail Verdict = "FAIL"
	// Unresolved: the interval holds the line, or there is none.
	Unresolved Verdict = "UNRESOLVED"
	// NoisyHost: plain against itself did not hold 1.0, so nothing else that
	// was measured beside it can be trusted.
	NoisyHost Verdict = "NOISY HOST"
)

// Line is the furthest that a ratio may lie from 1.0.
type Line struct {
	Limit float64
	// Least says that the ratio must be at least Limit (throughput), not at
	// most (latency).
	Least bool
}

// Judge holds an effect against the line.
func (l Line) Judge(e Effect) Verdict {
	if e.CI == nil {
		return Unresolved
	}
	low, high := e.CI.Low, e.CI.High
	if !l.Least {
		low, high = -high, -low
	}
	limit := l.Limit
	if !l.Least {
		limit = -limit
	}
	switch {
	case low >= limit:
		return Pass
	case high < limit:
		return Fail
	}
	return Unresolved
}

// Margin is how far plain against itself may lie from 1.0 and still hold it,
// when its whole interval lies within: a fifth of the finest line judged.
const Margin = 0.01

// Holds reports whether an A/A effect holds 1.0: its interval contains 1.0, or
// lies within Margin of it (many rounds make an interval so narrow that a
// difference of no consequence falls outside).
func Holds(aa Effect) bool {
	if aa.CI == nil {
		return true // nothing to say: the verdict is UNRESOLVED anyway
	}
	return aa.CI.Contains(1) || aa.CI.Low >= 1-Margin && aa.CI.High <= 1+Margin
}

// Both joins two verdicts on one workload: it passes only if both pass and
// fails if either fails.
func Both(a, b Verdict) Verdict {
	switch {
	case a == Fail || b == Fail:
		return Fail
	case a == Pass && b == Pass:
		return Pass
	}
	return Unresolved
}
