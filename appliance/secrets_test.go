package appliance

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	kmipgo "github.com/ovh/kmip-go"

	"sealbay/appliance/rest"
	"sealbay/keyring/durable"
	"sealbay/keyring/keyringtest"
	"sealbay/keyring/local"
)

// TestKeyReachesNoDriveAndNoLog runs the real daemon under strace with a KMS
// whose keys the test knows, takes it through its life, and looks for the keys
// in everything that it wrote: system calls, files, drives, log, core.
func TestKeyReachesNoDriveAndNoLog(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("strace"); err != nil {
		t.Fatalf("%v: install the Debian package strace", err)
	}
	server := keyringtest.NewServer(t)
	keys := [][]byte{knownKey(1), knownKey(2)}
	server.AddKey("key-1", keys[0], kmipgo.StateActive)
	server.AddKey("key-2", keys[1], kmipgo.StateActive)
	r := newRig(t, 2, 20)
	trace := filepath.Join(filepath.Dir(r.state), "trace")
	c := exec.Command("strace", append([]string{"-f", "-o", trace, "-xx", "-s", "2097152",
		"-e", "trace=write,writev,pwrite64,pwritev,pwritev2,sendto,sendmsg,execve", "/proc/self/exe"}, append(r.args(), "-format-blank")...)...)
	c.Args[len(c.Args)-len(r.args())-2] = mustExecutable(t)
	c.Env = append(os.Environ(), hammerEnv+"="+r.acked)
	log := &tail{}
	c.Stdout, c.Stderr = log, log
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	defer c.Process.Kill() // when the test fails on the way
	r.await(t, "open", func(s rest.NodeState) bool { return s.DrivesOpen == 2 })
	daemon := childOf(t, c.Process.Pid)
	first := r.localKey(t)
	if err := r.life(t, server); err != nil {
		t.Error(err)
	}
	noCore(t, daemon)
	if err := syscall.Kill(daemon, syscall.SIGABRT); err != nil { // would leave a core, were they on
		t.Fatal(err)
	}
	_ = c.Wait() // "signal: aborted"
	if cores, err := filepath.Glob("core*"); err != nil || len(cores) > 0 {
		t.Errorf("core files: %v, %v", cores, err)
	}
	traced, err := os.ReadFile(trace)
	// Headers, which hold this word, went to drives in plain sight: that they
	// are found shows that a key would be.
	if err != nil || !bytes.Contains(traced, []byte(straceHex([]byte("plain64")))) {
		t.Fatalf("the trace does not show what was written to the drives, so it proves nothing: %v", err)
	}
	for _, key := range keys {
		if bytes.Contains(traced, []byte(straceHex(key))) {
			t.Errorf("the trace holds key %x", key[:4])
		}
		searchFiles(t, filepath.Dir(r.state), key)
		search(t, "the log", []byte(log.String()), key)
	}
	// The first key was in a file while the store was local, so the trace holds
	// it. The file is gone, and overwritten before it went.
	searchFiles(t, filepath.Dir(r.state), first)
	search(t, "the log", []byte(log.String()), first)
}

// localKey reads a copy of the key file: the state folder of a running daemon
// is the daemon's.
func (r *rig) localKey(t *testing.T) []byte {
	t.Helper()
	const name = "master.key"
	file, err := os.ReadFile(filepath.Join(r.state, name))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := errors.Join(os.Chmod(dir, 0o700), os.WriteFile(filepath.Join(dir, name), file, 0o600)); err != nil {
		t.Fatal(err)
	}
	folder, err := durable.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer folder.Close()
	key, _, err := local.New(folder).Fetch(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer key.Close()
	var b []byte
	if err := key.Use(func(k []byte) error { b = bytes.Clone(k); return nil }); err != nil {
		t.Fatal(err)
	}
	return b
}

// life is what the daemon under the magnifying glass goes through.
func (r *rig) life(t *testing.T, server *keyringtest.Server) error {
	call := func(method, path string, in any) error {
		return r.client().Call(t.Context(), method, path, in, nil)
	}
	wrong := call("POST", "/v2/encryption/rotate-keys", rest.RotateKeys{KeyID: "key-2"}) // local: refused
	if wrong == nil {
		return errors.New("a local store took a key ID")
	}
	return errors.Join(
		call("PUT", "/v2/encryption/key-store", kmsRequest(t, server, "key-1")),
		call("POST", "/v1/encryption/rehearse", nil),
		call("POST", "/v2/encryption/rotate-keys", rest.RotateKeys{KeyID: "key-2"}),
		call("POST", "/v1/encryption/kms-certs", clientCerts(t, server)),
		call("GET", "/v1/audit/log", nil),
		call("POST", "/v1/keyring/backup", rest.BundleSecret{Passphrase: "correct horse battery"}),
		call("GET", "/v1/node/state", nil),
	)
}

// knownKey is unlikely to come about by chance.
func knownKey(seed byte) []byte {
	key := make([]byte, 32)
	for i := range key {
		key[i] = seed*67 + byte(i)*29 + 1
	}
	return key
}

func straceHex(b []byte) string {
	var s strings.Builder
	for _, x := range b {
		s.WriteString(`\x` + hex.EncodeToString([]byte{x}))
	}
	return s.String()
}

func search(t *testing.T, where string, in, key []byte) {
	t.Helper()
	for form, text := range map[string][]byte{
		"raw": key, "hex": []byte(hex.EncodeToString(key)), "HEX": []byte(strings.ToUpper(hex.EncodeToString(key))),
		"base64": []byte(base64.StdEncoding.EncodeToString(key)[:40]),
	} {
		if bytes.Contains(in, text) {
			t.Errorf("%s holds a key, %s", where, form)
		}
	}
}

func searchFiles(t *testing.T, dir string, key []byte) {
	t.Helper()
	searched := 0
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		b, err := os.ReadFile(path)
		search(t, path, b, key)
		searched++
		return err
	})
	if err != nil || searched < 5 {
		t.Errorf("only %d files searched: %v", searched, err)
	}
}

func mustExecutable(t *testing.T) string {
	t.Helper()
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// childOf returns the process that strace runs.
func childOf(t *testing.T, parent int) int {
	t.Helper()
	b, err := os.ReadFile("/proc/" + strconv.Itoa(parent) + "/task/" + strconv.Itoa(parent) + "/children")
	if err != nil {
		out, pgrepErr := exec.Command("pgrep", "-P", strconv.Itoa(parent)).Output()
		if pgrepErr != nil {
			t.Fatal(err, pgrepErr)
		}
		b = out
	}
	pid, err := strconv.Atoi(strings.Fields(string(b))[0])
	if err != nil {
		t.Fatal(err)
	}
	return pid
}

// noCore proves that the kernel would write no core file of the process.
func noCore(t *testing.T, pid int) {
	t.Helper()
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/limits")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		if strings.HasPrefix(line, "Max core file size") {
			if f := strings.Fields(line); f[4] != "0" || f[5] != "0" {
				t.Errorf("core files are on: %s", line)
			}
			return
		}
	}
	t.Error("no core limit found")
}
