package cipher

import (
	"fmt"
	"runtime"
	"slices"

	"github.com/klauspost/cpuid/v2"
	"golang.org/x/sys/unix"
)

// result makes the rows of what was measured.
func (r *runner) result() *Result {
	res := &Result{Version: 1, Host: host(), Plan: r.plan, Notes: r.notes()}
	if len(r.clock) > 0 {
		res.Host.GHz = median(r.clock)
	}
	for _, width := range []int{64, 32, 16} {
		if rates := r.bounds[width]; rates != nil {
			res.Rows = append(res.Rows, r.boundRows(width, rates)...)
		}
	}
	for i, s := range r.subs {
		res.Rows = append(res.Rows, r.row(s, r.rates[i]))
	}
	return res
}

// boundRows says what the AES unit alone would reach at each key size.
func (r *runner) boundRows(width int, rates []float64) (rows []Row) {
	for _, bits := range r.plan.KeyBits {
		row := Row{Cipher: fmt.Sprintf("aes-%d", bits), Impl: fmt.Sprintf("%d-bit registers", width*8), Op: Bound}
		row.fill(scaled(rates, 1/float64(rounds(bits))))
		r.cycles(&row)
		rows = append(rows, row)
	}
	return rows
}

func rounds(bits int) int { return bits/32 + 6 }

func (r *runner) row(s *subject, rates []float64) Row {
	row := s.row
	row.fill(rates)
	if b := r.bounds[s.width]; b != nil {
		row.Bound = 100 * median(ratios(rates, scaled(b, 1/float64(rounds(s.bits)))))
	}
	if s.row.Impl != xcryptoImpl {
		row.XCryp = r.against(s, rates, func(o Row) bool {
			return o.Impl == xcryptoImpl && o.Op == s.row.Op && o.Sector == s.row.Sector && o.InPlace == s.row.InPlace
		})
	}
	if s.row.Cipher != "memmove" {
		row.Move = r.against(s, rates, func(o Row) bool { return o.Cipher == "memmove" })
	}
	r.cycles(&row)
	if row.Set == Single {
		row.Call = float64(row.Sector) / row.GBps
	}
	return row
}

// against returns the ratio to the first subject of the same working set, and
// key size if it has one, that matches; 0 if there is none.
func (r *runner) against(s *subject, rates []float64, match func(Row) bool) float64 {
	for i, o := range r.subs {
		if o.row.Set == s.row.Set && (o.bits == 0 || o.bits == s.bits) && match(o.row) {
			return median(ratios(rates, r.rates[i]))
		}
	}
	return 0
}

func (r *runner) cycles(row *Row) {
	if len(r.clock) > 0 {
		row.Cycle = median(r.clock) / row.GBps
	}
}

func (row *Row) fill(rates []float64) {
	s := slices.Sorted(slices.Values(rates))
	row.Low, row.GBps, row.High = s[len(s)/4], median(s), s[len(s)*3/4]
}

func median(v []float64) float64 {
	s := slices.Sorted(slices.Values(v))
	return (s[(len(s)-1)/2] + s[len(s)/2]) / 2
}

// ratios divides round by round.
func ratios(over, under []float64) []float64 {
	q := make([]float64, len(over))
	for i := range over {
		q[i] = over[i] / under[i]
	}
	return q
}

func scaled(v []float64, by float64) []float64 {
	w := make([]float64, len(v))
	for i := range v {
		w[i] = v[i] * by
	}
	return w
}

func (r *runner) notes() (notes []string) {
	if len(r.loops) == 0 {
		notes = append(notes, "the bound of the AES unit is not measured on "+runtime.GOARCH+" or under purego")
	}
	if clockLoop == nil {
		notes = append(notes, "the clock, and with it cycles per byte, is not measured on "+runtime.GOARCH+" or under purego")
	}
	if slices.ContainsFunc(r.plan.Sets, Set.large) {
		notes = append(notes, "authenticated ciphers are measured in cache only: their longer ciphertext lies in a buffer of its own")
		if l3 := cpuid.CPU.Cache.L3; l3 <= 0 || 2*l3 > memoryMax {
			notes = append(notes, fmt.Sprintf("the size of the last-level cache is unknown or large: part of the %d MiB of the working sets request and memory may lie in it", memoryBytes()>>20))
		}
	}
	return notes
}

func host() Host {
	h := Host{CPU: cpuid.CPU.BrandName, Go: runtime.Version(), Arch: runtime.GOARCH, L2: cpuid.CPU.Cache.L2, L3: cpuid.CPU.Cache.L3}
	var u unix.Utsname
	if err := unix.Uname(&u); err == nil {
		h.Kernel = unix.ByteSliceToString(u.Release[:])
	}
	return h
}
