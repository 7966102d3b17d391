package xts

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"context"
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
