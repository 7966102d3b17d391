package bench

import (
	"time"

	"sealbay/bench/probe"
	"sealbay/bench/stats"
	"sealbay/bench/workload"
)

// Schema is the version of Result's JSON form. It grows with any change that a
// reader of an older one would misunderstand.
const Schema = "sealbench/1"

// Result is a finished run, or what there is of one that was interrupted. A
// figure that was not measured is absent from its JSON form, never zero.
type Result struct {
	Schema   string    `json:"schema"`
	Version  string    `json:"version"` // of Sealbay
	Go       string    `json:"go"`
	Started  time.Time `json:"started"`
	Finished time.Time `json:"finished"`
	// Status is "complete", or "partial" with the reason in Stopped.
	Status  string `json:"status"`
	Stopped string `json:"stopped,omitempty"`

	Host   Host   `json:"host"`
	Target Target `json:"target"`
	Method Method `json:"method"`

	// Probes is absent where the run was without.
	Probes *Probes `json:"probes,omitempty"`

	// NoisyHost: plain against itself did not hold 1.0 in at least one
	// workload.
	NoisyHost bool       `json:"noisy_host"`
	Workloads []Workload `json:"workloads"`
	// NotMeasured says in words what a reader might miss.
	NotMeasured []string `json:"not_measured"`
}

// The values of Result.Status.
const (
	Complete = "complete"
	Partial  = "partial"
)

// Host is the machine.
type Host struct {
	Kernel string `json:"kernel"`
	CPU    string `json:"cpu"`
	CPUs   int    `json:"cpus"`
	Memory int64  `json:"memory_bytes,omitempty"`
	// Emulated: the processor is QEMU's software emulation, where a cipher
	// costs many times what it costs on the real one.
	Emulated bool `json:"emulated"`
}

// Target is what was measured.
type Target struct {
	Path       string `json:"path"`
	Kind       string `json:"kind,omitempty"`
	Model      string `json:"model,omitempty"`
	Serial     string `json:"serial,omitempty"`
	FileSystem string `json:"file_system,omitempty"`
	Backing    string `json:"backing,omitempty"`
	Size       int64  `json:"size_bytes"` // of what the bench may use
	Offset     int64  `json:"region_offset_bytes"`
	Span       int64  `json:"region_bytes"`
	Sector     int    `json:"sector_bytes"`
	Engine     string `json:"engine"`
	Cipher     string `json:"cipher"`             // "aes-xts-plain64, 512-bit key, 4096-byte sectors"
	XTS        string `json:"xts_implementation"` // of package xts
}

// Method is how it was measured.
type Method struct {
	Seed           uint64  `json:"seed"`
	RunID          uint64  `json:"run_id"` // in every block written
	Rounds         int     `json:"rounds_planned"`
	BudgetSeconds  float64 `json:"budget_seconds,omitempty"`
	Ended          string  `json:"ended"` // why there were no more rounds
	SectionSeconds float64 `json:"section_seconds"`
	WarmupSeconds  float64 `json:"warmup_seconds"`
	Level          float64 `json:"confidence_level"`
	Resamples      int     `json:"bootstrap_resamples"`
	VoidRules      string  `json:"void_rules"`
	// PlaintextScanned is how many raw bytes were searched for plaintext
	// after an encrypted fill; none was found, or there would be no result.
	PlaintextScanned int64 `json:"plaintext_scanned_bytes"`
}

// The values of Method.Ended.
const (
	EndedRounds = "planned rounds"
	EndedNarrow = "every interval within 1 % of its ratio"
	EndedBudget = "budget spent"
	EndedVoid   = "too many void rounds"
)

// Workload is what was measured of one workload.
type Workload struct {
	workload.Workload
	Pattern string `json:"pattern"`
	// The headline: throughput, encrypted over plain.
	Ratio   *float64      `json:"ratio,omitempty"`
	Low     *float64      `json:"ci_low,omitempty"`
	High    *float64      `json:"ci_high,omitempty"`
	Verdict stats.Verdict `json:"verdict"`

	Throughput *Judged `json:"throughput,omitempty"`  // MB/s
	Latency    *Judged `json:"latency_p50,omitempty"` // median
	Tail       *Judged `json:"latency_p99,omitempty"` // shown, not judged

	// CopyThroughput and CopyLatency are encrypted over plain_copy.
	CopyThroughput *Effect `json:"throughput_vs_copy,omitempty"`
	CopyLatency    *Effect `json:"latency_p50_vs_copy,omitempty"`
	// Overhead is what encryption adds to each stage, encrypted minus plain,
	// both probed. ProbeCost is what the probes add to plain.
	Overhead  []probe.Difference `json:"overhead_by_stage,omitempty"`
	ProbeCost *ProbeCost         `json:"probe_cost,omitempty"`

	RoundsValid int              `json:"rounds_valid"`
	RoundsVoid  map[string]int   `json:"rounds_void"` // by rule
	Modes       map[string]*Mode `json:"modes"`
	Rounds      []Round          `json:"rounds"`

	recorders map[string]*probe.Recorder // of the probed modes, valid rounds
}

// ProbeCost is plain_probed minus plain, per operation, paired by round.
type ProbeCost struct {
	Mean probe.Shift `json:"mean"`
	P50  probe.Shift `json:"p50"`
}

// Judged is a ratio of encrypted over plain, beside plain over itself.
type Judged struct {
	Effect
	Limit   *float64      `json:"limit,omitempty"`
	Verdict stats.Verdict `json:"verdict,omitempty"`
	AA      Effect        `json:"aa"`
	AAHolds *bool         `json:"aa_holds,omitempty"`
}

// Effect is stats.Effect as JSON.
type Effect struct {
	Ratio float64  `json:"ratio"`
	Low   *float64 `json:"ci_low,omitempty"`
	High  *float64 `json:"ci_high,omitempty"`
}

// Mode is what was measured of one mode over all valid rounds: bytes and
// operations over time, percentiles of all latencies together.
type Mode struct {
	MBps float64 `json:"mbps"` // 10^6 bytes a second
	IOPS float64 `json:"iops"`
	P50  float64 `json:"p50_us"`
	// The others are absent where there are too few samples: TooFew names
	// them.
	P90    *float64 `json:"p90_us,omitempty"`
	P99    *float64 `json:"p99_us,omitempty"`
	P999   *float64 `json:"p99_9_us,omitempty"`
	P9999  *float64 `json:"p99_99_us,omitempty"`
	TooFew []string `json:"too_few_samples_for,omitempty"`
	Max    float64  `json:"max_us"`
	Mean   float64  `json:"mean_us"`

	Samples  int64   `json:"samples"`
	Seconds  float64 `json:"seconds"`
	CPUPerGB float64 `json:"cpu_seconds_per_gb"` // user and system, 10^9 bytes
	GCCycles uint32  `json:"gc_cycles"`
	GCPause  float64 `json:"gc_pause_us"`
	// Stages are the mean times between the request's own stamps.
	Stages *Stages `json:"stages_mean_us,omitempty"`
	// Probed are the stages with the kernel's stamps, of a probed mode.
	Probed *probe.Summary `json:"probed,omitempty"`
}

// Stages are mean microseconds per operation.
type Stages struct {
	Encrypt *float64 `json:"encrypt,omitempty"`
	Submit  float64  `json:"submit"`
	Device  float64  `json:"device"`
	Decrypt *float64 `json:"decrypt,omitempty"`
	Reap    float64  `json:"reap"`
	// Sum is theirs; EndToEnd is the mean latency as the loop measured it.
	Sum      float64 `json:"sum"`
	EndToEnd float64 `json:"end_to_end"`
	// Unstamped counts operations without whole stamps, not in the means.
	Unstamped int64 `json:"unstamped"`
}

// Round is one round of one workload: every mode once.
type Round struct {
	N     int                `json:"round"`
	Order []string           `json:"order"`          // of the modes
	Void  string             `json:"void,omitempty"` // the rule that voids it
	Why   string             `json:"void_reason,omitempty"`
	Modes map[string]*Sample `json:"modes"`
}

// Sample is one mode's turn in a round.
type Sample struct {
	Ops       int64           `json:"ops"`
	Bytes     int64           `json:"bytes"`
	Seconds   float64         `json:"seconds"`
	MBps      float64         `json:"mbps"`
	IOPS      float64         `json:"iops"`
	P50       float64         `json:"p50_us"`
	P99       *float64        `json:"p99_us,omitempty"`
	Max       float64         `json:"max_us"`
	Mean      float64         `json:"mean_us"`
	CPU       float64         `json:"cpu_seconds"`
	Steal     *float64        `json:"steal_share,omitempty"` // of all CPU time
	GCCycles  uint32          `json:"gc_cycles"`
	GCPause   float64         `json:"gc_pause_us"`
	Stages    workload.Stages `json:"stages_sum_ns"`
	Histogram string          `json:"histogram"` // ns, HdrHistogram V2 compressed, base64
	Probed    *probe.Summary  `json:"probed,omitempty"`

	recorder *probe.Recorder
}
