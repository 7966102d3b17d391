package xts

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"
	"time"
)

// inner is set in the environment of the tests that these tests start.
const inner = "SEALBAY_XTS_INNER_TEST"

// otherBuild runs a command that tests another build of this package.
func otherBuild(t *testing.T, env []string, name string, args ...string) []byte {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = append(append(os.Environ(), inner+"=1"), env...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %v: %v\n%s", name, args, err, out)
	}
	return out
}

// outermost skips a test of another build inside such a build.
func outermost(t *testing.T) {
	t.Helper()
	if os.Getenv(inner) != "" || runtime.GOARCH != "amd64" {
		t.Skip("this is the other build")
	}
	if testing.Short() {
		t.Skip("short mode builds nothing else")
	}
}

// TestPureGo runs all tests without assembly.
func TestPureGo(t *testing.T) {
	outermost(t)
	otherBuild(t, nil, "go", "test", "-count=1", "-tags", "purego", ".")
}

// TestRace runs the tests that share a Cipher, and some more, under the race
// detector.
func TestRace(t *testing.T) {
	outermost(t)
	if _, err := exec.LookPath("gcc"); err != nil {
		t.Fatal("the race detector needs cgo: install the Debian package gcc")
	}
	otherBuild(t, []string{"CGO_ENABLED=1"}, "go", "test", "-count=1", "-race", "-run", "UnderLoad|Neighbours|IEEE|Panics", ".")
}

// TestARM64 vets and builds for arm64 and runs all tests under qemu-user.
func TestARM64(t *testing.T) {
	outermost(t)
	qemu, err := exec.LookPath("qemu-aarch64")
	if err != nil {
		t.Fatal("qemu-aarch64 is missing: install the Debian package qemu-user")
	}
	env := []string{"GOOS=linux", "GOARCH=arm64", "CGO_ENABLED=0"}
	otherBuild(t, env, "go", "vet", ".")
	bin := filepath.Join(t.TempDir(), "xts.test")
	otherBuild(t, env, "go", "test", "-c", "-o", bin, ".")
	out := otherBuild(t, nil, qemu, bin, "-test.v")
	if !bytes.Contains(out, []byte("TestAgainstXCrypto/arm64-aes")) {
		t.Errorf("the arm64 kernel did not run:\n%s", out)
	}
}

// best is set, beside inner, to the implementation that New must choose.
const best = "SEALBAY_XTS_BEST_TEST"

// TestOtherProcessors runs the vectors, and the choice of New, on emulated
// processors that lack something.
func TestOtherProcessors(t *testing.T) {
	outermost(t)
	qemu, err := exec.LookPath("qemu-x86_64")
	if err != nil {
		t.Fatal("qemu-x86_64 is missing: install the Debian package qemu-user")
	}
	bin := filepath.Join(t.TempDir(), "xts.test")
	otherBuild(t, []string{"CGO_ENABLED=0"}, "go", "test", "-c", "-o", bin, ".")
	for _, tc := range []struct{ cpu, best string }{
		{"max", "vaes-avx2"}, // what TCG offers: no AVX-512
		{"Haswell", "aesni-avx2"},
		{"SandyBridge", "aesni-avx"},
		{"Nehalem", "generic"},
	} {
		out := otherBuild(t, []string{best + "=" + tc.best, Env + "="}, qemu, "-cpu", tc.cpu, bin, "-test.v", "-test.run", "IEEE|CAVP|Chosen")
		if !bytes.Contains(out, []byte("PASS: TestIEEE1619/"+tc.best)) || !bytes.Contains(out, []byte("PASS: TestChosen")) {
			t.Errorf("%s: %s did not run:\n%s", tc.cpu, tc.best, out)
		}
	}
}

// TestChosen is the other half of TestOtherProcessors.
func TestChosen(t *testing.T) {
	want := os.Getenv(best)
	if want == "" {
		want = firstSupported(t)
	}
	c, err := New(randBytes(random(t, 40), 64), Options{SectorSize: 512})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if got := c.Implementation(); got != want {
		t.Errorf("New chose %s, want %s", got, want)
	}
}

// firstSupported is what New must choose unless the environment says more.
func firstSupported(t *testing.T) string {
	t.Setenv(Env, "")
	for _, im := range Implementations() {
		if im.Supported {
			return im.Name
		}
	}
	t.Fatal("no implementation runs here")
	return ""
}

// TestGeneratedAssembly: the committed assembly is what _asm writes.
func TestGeneratedAssembly(t *testing.T) {
	outermost(t)
	for _, impl := range []string{"vaes512", "vex"} {
		file := "xts_" + impl + "_amd64.s"
		fresh := filepath.Join(t.TempDir(), file)
		otherBuild(t, nil, "go", "run", "-C", "_asm", ".", "-impl", impl, "-out", fresh)
		want, got := withoutHeader(t, fresh), withoutHeader(t, file)
		if !bytes.Equal(got, want) {
			t.Errorf("%s is not what blockcrypt/xts/_asm writes: run go generate ./blockcrypt/xts", file)
		}
	}
}

// withoutHeader returns a file but for its first line, which names the file.
func withoutHeader(t *testing.T, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := bytes.Cut(b, []byte("\n"))
	return rest
}
