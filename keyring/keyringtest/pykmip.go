package keyringtest

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/ovh/kmip-go/kmipclient"

	"sealbay/keyring/kmip"
)

// PyKMIP is a running PyKMIP server, which others wrote: the judge of what
// package kmip takes KMIP to be.
type PyKMIP struct {
	CA   *CA
	Port int
	dir  string
	cmd  *exec.Cmd
}

const pykmipServer = "/usr/bin/pykmip-server"

// StartPyKMIP starts Debian's PyKMIP with the server certificate cert and an
// empty database.
func StartPyKMIP(t testing.TB, cert Cert) *PyKMIP {
	t.Helper()
	if _, err := os.Stat(pykmipServer); err != nil {
		t.Fatalf("%v: install the Debian package python3-pykmip", err)
	}
	p := &PyKMIP{CA: NewCA(t, "PyKMIP test CA"), Port: freePort(t), dir: t.TempDir()}
	p.Present(t, cert)
	p.Start(t)
	t.Cleanup(p.Stop)
	return p
}

// Present sets the server's certificate for the next Start.
func (p *PyKMIP) Present(t testing.TB, cert Cert) {
	t.Helper()
	cert.Server = true
	if cert.Name == "" {
		cert.Name = "kms"
	}
	certPEM, key := p.CA.Issue(t, cert)
	for name, data := range map[string][]byte{"ca.pem": p.CA.PEM, "server.pem": certPEM, "server.key": key} {
		if err := os.WriteFile(filepath.Join(p.dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// Start starts the server, again after Stop if need be, with the same keys.
func (p *PyKMIP) Start(t testing.TB) {
	t.Helper()
	conf := filepath.Join(p.dir, "server.conf")
	text := fmt.Sprintf(`[server]
hostname=127.0.0.1
port=%d
certificate_path=%[2]s/server.pem
key_path=%[2]s/server.key
ca_path=%[2]s/ca.pem
auth_suite=TLS1.2
policy_path=%[2]s/policy
enable_tls_client_auth=True
logging_level=INFO
database_path=%[2]s/keys.db
`, p.Port, p.dir)
	if err := os.MkdirAll(filepath.Join(p.dir, "policy"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	p.cmd = exec.Command("/usr/bin/python3", "-W", "ignore", pykmipServer, "-f", conf, "-l", filepath.Join(p.dir, "server.log"))
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p.await(t)
}

func (p *PyKMIP) await(t testing.TB) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if c, err := net.Dial("tcp", p.addr()); err == nil {
			_ = c.Close()
			return
		}
	}
	log, _ := os.ReadFile(filepath.Join(p.dir, "server.log"))
	t.Fatalf("PyKMIP does not listen on %s after 20 s:\n%s", p.addr(), log)
}

func (p *PyKMIP) addr() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(p.Port)) }

// Pause stops the server's process without ending it: it accepts connections
// and is silent. Resume lets it go on.
func (p *PyKMIP) Pause() { _ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGSTOP) }

// Resume ends Pause.
func (p *PyKMIP) Resume() { _ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGCONT) }

// Stop ends the server and what it started.
func (p *PyKMIP) Stop() {
	if p.cmd == nil {
		return
	}
	p.Resume()
	_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL) // its orderly end takes up to 10 s and nothing is lost
	_ = p.cmd.Wait()
	p.cmd = nil
}

// Config returns the configuration of a client that may use the key, under
// the identity of c.
func (p *PyKMIP) Config(t testing.TB, keyID string, c Cert) kmip.Config {
	t.Helper()
	return kmip.Config{Hostname: "127.0.0.1", Port: p.Port, KeyID: keyID, Certs: p.CA.Certs(t, c)}
}

// Admin connects kmip-go's own client, under the identity of c, to set keys up.
func (p *PyKMIP) Admin(t testing.TB, c Cert) *kmipclient.Client {
	t.Helper()
	cert, key := p.CA.Issue(t, c)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	client, err := kmipclient.DialContext(ctx, p.addr(), kmipclient.WithRootCAPem(p.CA.PEM),
		kmipclient.WithClientCertPEM(cert, key), kmipclient.WithServerName("localhost"),
		kmipclient.WithTlsCipherSuiteNames("TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256", "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	return client
}

func freePort(t testing.TB) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}
