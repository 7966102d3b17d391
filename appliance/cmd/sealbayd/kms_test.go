package main

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"sealbay/keyring/keyringtest"
)

// TestKMSScripts runs what stands in testdata/kms against the real daemon and
// a real PyKMIP server.
func TestKMSScripts(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Fatal("needs root: the state folder's files must be root's; run the tests as root")
	}
	server := keyringtest.StartPyKMIP(t, keyringtest.Cert{})
	p := params("testdata/kms")
	setup := p.Setup
	p.Setup = func(e *testscript.Env) error {
		e.Setenv("KMSPORT", strconv.Itoa(server.Port))
		return errors.Join(setup(e), writeCerts(t, server, e.WorkDir))
	}
	p.Cmds["kms"] = func(ts *testscript.TestScript, neg bool, args []string) {
		do := map[string]func(){"stop": server.Stop, "start": func() { server.Start(t) }, "pause": server.Pause, "resume": server.Resume}
		if neg || len(args) != 1 || do[args[0]] == nil {
			ts.Fatalf("usage: kms stop|start|pause|resume")
		}
		do[args[0]]()
	}
	testscript.Run(t, p)
}

// writeCerts puts what a client of the server needs into dir, a second set for
// a change of certificates, and sets that do not work.
func writeCerts(t *testing.T, server *keyringtest.PyKMIP, dir string) error {
	t.Helper()
	other := keyringtest.NewCA(t, "another CA")
	var all error
	for _, c := range []struct {
		prefix string
		ca     *keyringtest.CA
		cert   keyringtest.Cert
	}{
		{"", server.CA, keyringtest.Cert{}},
		{"new-", server.CA, keyringtest.Cert{}},
		{"other-", other, keyringtest.Cert{}},
		{"expired-", server.CA, keyringtest.Cert{NotBefore: time.Now().Add(-48 * time.Hour), NotAfter: time.Now().Add(-24 * time.Hour)}},
	} {
		pem := c.ca.Certs(t, c.cert)
		for name, data := range map[string][]byte{"ca.pem": pem.ServerCA.Data, "client.pem": pem.ClientCert.Data, "client.key": pem.ClientKey.Data} {
			all = errors.Join(all, os.WriteFile(filepath.Join(dir, c.prefix+name), data, 0o600))
		}
	}
	return all
}
