//go:build !purego

package xts

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestNoSecretReachesABranchOrAddress: keys, tweaks and data only ever stand
// in vector registers of the amd64 kernels. Branches and addresses are made
// from general registers; so it is enough that nothing moves from a vector or
// mask register, or from the buffers, to a general one.
func TestNoSecretReachesABranchOrAddress(t *testing.T) {
	files, err := filepath.Glob("xts_*_amd64.s")
	if err != nil || len(files) != 2 {
		t.Fatalf("kernels %v: %v", files, err)
	}
	for _, file := range files {
		src, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		lines := 0
		for i, line := range strings.Split(string(src), "\n") {
			mnemonic, args := instruction(line)
			if mnemonic == "" {
				continue
			}
			lines++
			if why := leaks(mnemonic, args); why != "" {
				t.Errorf("%s:%d: %s: %s", file, i+1, strings.TrimSpace(line), why)
			}
		}
		if lines < 1000 {
			t.Errorf("%s: only %d instructions found", file, lines)
		}
	}
	for line, leak := range map[string]bool{
		"\tVMOVQ X1, AX": true, "\tVPEXTRQ $1, X1, BX": true, "\tKMOVB K1, SI": true, "\tVPTEST Y1, Y2": true,
		"\tMOVQ (R9), AX": true, "\tVPGATHERQQ K1, (AX)(Z1*1), Z2": true,
		"\tVMOVQ R15, X0": false, "\tKMOVB SI, K2": false, "\tMOVQ n+32(FP), R11": false, "\tVMOVDQU64 (R9), Z0": false,
	} {
		if mnemonic, args := instruction(line); (leaks(mnemonic, args) != "") != leak {
			t.Errorf("%q: leak %v, want %v", line, !leak, leak)
		}
	}
}

var (
	insn    = regexp.MustCompile(`^\t([A-Z][A-Z0-9.]*)(?:\s+(.*))?$`)
	general = regexp.MustCompile(`^(AX|BX|CX|DX|SI|DI|R[0-9]+)[BWL]?$`)
	comment = regexp.MustCompile(`\s*//.*`)
)

func instruction(line string) (string, []string) {
	m := insn.FindStringSubmatch(comment.ReplaceAllString(line, ""))
	if m == nil || strings.HasPrefix(m[1], "J") {
		return "", nil
	}
	return m[1], strings.Split(m[2], ", ")
}

// leaks says why an instruction might carry a secret into a general register
// or the flags, or "". Memory that general registers are loaded from is the
// arguments, and the distance of the prefetches in the frame (DX).
func leaks(mnemonic string, args []string) string {
	to := args[len(args)-1]
	vector := strings.HasPrefix(mnemonic, "V") || strings.HasPrefix(mnemonic, "K")
	switch {
	case strings.Contains(mnemonic, "GATHER") || strings.Contains(mnemonic, "SCATTER"):
		return "an address from a vector"
	case strings.Contains(mnemonic, "TEST") && vector:
		return "flags from a vector"
	case vector && general.MatchString(to):
		return "a general register from a vector"
	case !vector && len(args) > 1 && strings.HasPrefix(mnemonic, "MOV") && strings.HasSuffix(args[0], ")") &&
		!strings.HasSuffix(args[0], "(FP)") && !strings.HasSuffix(args[0], "(DX)"):
		return "a general register from memory"
	}
	return ""
}
