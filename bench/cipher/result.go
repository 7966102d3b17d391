package cipher

// Result is what a run found.
type Result struct {
	Version int      `json:"version"` // of this format: 1
	Host    Host     `json:"host"`
	Plan    Plan     `json:"plan"`
	Rows    []Row    `json:"rows"`
	Notes   []string `json:"notes"` // what was not measured, and why
}

// Host describes the machine.
type Host struct {
	CPU    string  `json:"cpu"`
	Kernel string  `json:"kernel"`
	Go     string  `json:"go"`
	Arch   string  `json:"arch"`
	GHz    float64 `json:"ghz,omitempty"` // median over the rounds, of the core while it ran
	L2     int     `json:"l2_bytes"`
	L3     int     `json:"l3_bytes"`
}

// Row is one line of the table. A rate is the median over the rounds; a ratio
// is the median of the ratios within the rounds. 0 stands for what does not
// apply or was not measured.
type Row struct {
	Cipher  string `json:"cipher"` // "aes-256-xts", "aes-256-gcm", "memmove", ...
	Impl    string `json:"impl"`
	Op      Op     `json:"op"`
	Sector  int    `json:"sector_bytes,omitempty"`
	Set     Set    `json:"working_set,omitempty"`
	InPlace bool   `json:"in_place"`

	GBps  float64 `json:"gbps"` // 10^9 bytes a second
	Low   float64 `json:"gbps_p25"`
	High  float64 `json:"gbps_p75"`
	Bound float64 `json:"pct_bound,omitempty"`  // of what the AES unit does at this register width
	XCryp float64 `json:"vs_xcrypto,omitempty"` // times as fast as golang.org/x/crypto/xts
	Move  float64 `json:"vs_memmove,omitempty"` // times as fast as memmove, separate buffers, same working set
	Cycle float64 `json:"cycles_per_byte,omitempty"`
	Call  float64 `json:"ns_per_call,omitempty"` // of the working set single
}
