package rest

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// faultyNode is a Node that fails, hangs or answers as a test asks.
type faultyNode struct {
	Node   // methods that a test does not use panic
	rotate func(context.Context, RotateKeys) error
}

func (faultyNode) Status() Status { return Status{Status: KMSNoConnect, Type: TypeKMS} }
func (n faultyNode) RotateKeys(ctx context.Context, r RotateKeys) error {
	return n.rotate(ctx, r)
}
func (faultyNode) SetKeyStore(context.Context, SetKeyStore) error { return nil }

// memoryAudit keeps entries in memory and can be told to fail.
type memoryAudit struct {
	mu      sync.Mutex
	entries []AuditEntry
	fail    error
}

func (a *memoryAudit) Record(e AuditEntry) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.fail != nil {
		return a.fail
	}
	a.entries = append(a.entries, e)
	return nil
}

func (a *memoryAudit) Last(int) ([]AuditEntry, error) { return a.entries, nil }

func (a *memoryAudit) outcomes() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	var s []string
	for _, e := range a.entries {
		s = append(s, e.Action+" "+e.Outcome)
	}
	return strings.Join(s, ", ")
}

func serve(t *testing.T, node Node, audit Auditor) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "rest.sock")
	l, _, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	s := NewServer(node, audit, slog.New(slog.NewTextHandler(io.Discard, nil)))
	done := make(chan error, 1)
	go func() { done <- s.Serve(l, nil) }()
	t.Cleanup(func() {
		if err := s.Shutdown(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return path
}

func raw(t *testing.T, path, method, url, body string) (code int, answer string) {
	t.Helper()
	c := NewUnixClient(path)
	req, err := http.NewRequest(method, c.base+url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

func TestBodiesAreReadStrictly(t *testing.T) {
	audit := &memoryAudit{}
	path := serve(t, faultyNode{rotate: func(context.Context, RotateKeys) error { return nil }}, audit)
	for _, c := range []struct {
		name, body string
		code       int
		says       string
	}{
		{"no body", "", 200, ""},
		{"empty object", "{}", 200, ""},
		{"a misspelt field", `{"keyid": "3"}`, 400, "keyid"},
		{"a wrong type", `{"key_id": 3}`, 400, `field \"key_id\" cannot be a number`},
		{"half a file", `{"key_id": "3`, 400, "ends in the middle"},
		{"two values", `{} {}`, 400, "more than one JSON value"},
		{"not JSON", `key_id=3`, 400, "invalid character"},
		{"too long", `{"key_id": "` + strings.Repeat("x", smallBody) + `"}`, 413, "more than 65536 bytes"},
	} {
		code, answer := raw(t, path, "POST", "/v2/encryption/rotate-keys", c.body)
		if code != c.code || !strings.Contains(answer, c.says) {
			t.Errorf("%s: %d %s; want %d and %q", c.name, code, answer, c.code, c.says)
		}
	}
	if got := strings.Count(audit.outcomes(), "encryption_rotate_keys refused"); got != 6 {
		t.Errorf("%d refusals in the audit log, want 6: %s", got, audit.outcomes())
	}
}

func TestErrorBody(t *testing.T) {
	path := serve(t, faultyNode{rotate: func(context.Context, RotateKeys) error { return errors.New("drive on fire") }}, &memoryAudit{})
	code, answer := raw(t, path, "POST", "/v1/encryption/rotate-keys", "")
	var got map[string]any
	if err := json.Unmarshal([]byte(answer), &got); err != nil {
		t.Fatal(err)
	}
	want := map[string]any{"module": "rest", "error_class": "http_internal_server_error", "description": "drive on fire", "stack": []any{}, "user_visible": true}
	if code != 500 || !reflect.DeepEqual(got, want) {
		t.Errorf("%d %s", code, answer)
	}
	for method, url := range map[string]string{"GET": "/v3/nothing", "DELETE": "/v2/encryption/key-store"} {
		if code, answer := raw(t, path, method, url, ""); code != 404 || !strings.Contains(answer, "there is no "+method) {
			t.Errorf("%s %s: %d %s", method, url, code, answer)
		}
	}
}

func TestEveryWriteIsAudited(t *testing.T) {
	audit := &memoryAudit{}
	path := serve(t, faultyNode{rotate: func(_ context.Context, r RotateKeys) error {
		if r.KeyID == "bad" {
			return Errorf(409, "no")
		}
		return nil
	}}, audit)
	c := NewUnixClient(path)
	if err := c.Call(t.Context(), "POST", "/v2/encryption/rotate-keys", RotateKeys{KeyID: "good"}, nil); err != nil {
		t.Error(err)
	}
	err := c.Call(t.Context(), "POST", "/v2/encryption/rotate-keys", RotateKeys{KeyID: "bad"}, nil)
	if e, ok := errors.AsType[*Error](err); !ok || e.Error() != "Error 409: http_conflict_error: no" {
		t.Errorf("got %v", err)
	}
	kms := SetKeyStore{Type: TypeKMS, KMS: &KMSConfig{Hostname: "h", KeyID: "7", ClientPrivateKey: "SECRET PEM"}}
	if err := c.Call(t.Context(), "PUT", "/v2/encryption/key-store", kms, nil); err != nil {
		t.Error(err)
	}
	const want = "encryption_rotate_keys started, encryption_rotate_keys done, encryption_rotate_keys started, encryption_rotate_keys failed, encryption_update_config started, encryption_update_config done"
	if got := audit.outcomes(); got != want {
		t.Errorf("audit log: %s", got)
	}
	all := fmt.Sprintf("%+v", audit.entries)
	if strings.Contains(all, "SECRET") || !strings.Contains(all, "host h, key ID 7") || *audit.entries[0].UID != uint32(os.Getuid()) {
		t.Errorf("audit log: %s", all)
	}
}

func TestNoAuditNoWrite(t *testing.T) {
	called := false
	path := serve(t, faultyNode{rotate: func(context.Context, RotateKeys) error { called = true; return nil }}, &memoryAudit{fail: syscall.ENOSPC})
	code, answer := raw(t, path, "POST", "/v1/encryption/rotate-keys", "")
	if code != 500 || called || !strings.Contains(answer, "audit log cannot be written: no space left") {
		t.Errorf("%d %s, called %v", code, answer, called)
	}
}

func TestAWriteOutlivesItsClient(t *testing.T) {
	entered, finished := make(chan struct{}), make(chan error, 1)
	leave := make(chan struct{})
	path := serve(t, faultyNode{rotate: func(ctx context.Context, _ RotateKeys) error {
		close(entered)
		<-leave
		finished <- ctx.Err()
		return nil
	}}, &memoryAudit{})
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-entered; cancel() }()
	if err := NewUnixClient(path).Call(ctx, "POST", "/v1/encryption/rotate-keys", nil, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("the client got %v", err)
	}
	close(leave)
	if err := <-finished; err != nil {
		t.Errorf("the rotation was cancelled with its client: %v", err)
	}
}

func TestPrivileges(t *testing.T) {
	rw, r, none := []Privilege{PrivilegeRead, PrivilegeWrite}, []Privilege{PrivilegeRead}, []Privilege{}
	for _, c := range []struct {
		uid    uint32
		groups []string
		want   []Privilege
	}{
		{0, nil, rw},
		{4711, []string{"users", AdminGroup}, rw},
		{4711, []string{ReadGroup, AdminGroup}, rw},
		{4711, []string{"users", ReadGroup}, r},
		{4711, []string{"users", "sealbay"}, none},
		{4711, nil, none},
	} {
		if p := peerOf(&syscall.Ucred{Uid: c.uid}, c.groups); !slices.Equal(p.Privileges, c.want) {
			t.Errorf("uid %d in %v: %v, want %v", c.uid, c.groups, p.Privileges, c.want)
		}
	}
}

// TestEveryRouteAsksForAPrivilege goes through the whole interface as nobody.
func TestEveryRouteAsksForAPrivilege(t *testing.T) {
	s := NewServer(faultyNode{}, &memoryAudit{}, slog.New(slog.NewTextHandler(io.Discard, nil)))
	open := []string{"/v1/version", "/v1/session/who-am-i"}
	for _, r := range s.routes() {
		if r.action != "" && r.privilege != PrivilegeWrite {
			t.Errorf("%s %s is audited but asks for %q", r.method, r.path, r.privilege)
		}
		if r.privilege == "" && !slices.Contains(open, r.path) {
			t.Errorf("%s %s is open to everybody", r.method, r.path)
		}
		if r.privilege == "" {
			continue
		}
		w := newRecorder()
		req, err := http.NewRequest(r.method, r.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		s.handler().ServeHTTP(w, req)
		if w.code != 403 || !strings.Contains(w.body.String(), string(r.privilege)) {
			t.Errorf("%s %s as nobody: %d %s", r.method, r.path, w.code, w.body.String())
		}
	}
}

// recorder is httptest.ResponseRecorder with deadlines.
type recorder struct {
	code   int
	header http.Header
	body   strings.Builder
}

func newRecorder() *recorder                           { return &recorder{header: http.Header{}} }
func (r *recorder) Header() http.Header                { return r.header }
func (r *recorder) WriteHeader(code int)               { r.code = code }
func (r *recorder) Write(b []byte) (int, error)        { return r.body.Write(b) }
func (r *recorder) SetWriteDeadline(_ time.Time) error { return nil }

func TestThousandClients(t *testing.T) {
	path := serve(t, faultyNode{}, &memoryAudit{})
	const clients = 1000
	var conns []net.Conn
	defer func() {
		for _, c := range conns {
			c.Close()
		}
	}()
	for range clients { // all connected at once before the first asks
		c, err := net.Dial("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		conns = append(conns, c)
	}
	var wg sync.WaitGroup
	for _, c := range conns {
		wg.Go(func() {
			if _, err := io.WriteString(c, "GET /v2/encryption/key-store/status HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
				t.Error(err)
				return
			}
			resp, err := http.ReadResponse(bufio.NewReader(c), nil)
			if err != nil {
				t.Error(err)
				return
			}
			defer resp.Body.Close()
			if b, err := io.ReadAll(resp.Body); err != nil || !strings.Contains(string(b), KMSNoConnect) {
				t.Errorf("got %q, %v", b, err)
			}
		})
	}
	wg.Wait()
}

func TestSocketHygiene(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sub", "rest.sock")
	l, _, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o660 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if _, _, err := Listen(path); err == nil || !strings.Contains(err.Error(), "another daemon answers on it") {
		t.Errorf("over a live socket: %v", err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); err != nil {
		t.Fatalf("the stale socket that this test needs: %v", err)
	}
	l, _, err = Listen(path)
	if err != nil {
		t.Fatalf("over a stale socket: %v", err)
	}
	if err := errors.Join(l.Close(), os.Remove(path), os.WriteFile(path, []byte("mine"), 0o600)); err != nil {
		t.Fatal(err)
	}
	if _, _, err := Listen(path); err == nil || !strings.Contains(err.Error(), "there is a file in its place") {
		t.Errorf("over a file: %v", err)
	}
	if b, err := os.ReadFile(path); err != nil || string(b) != "mine" {
		t.Errorf("the file became %q, %v", b, err)
	}
}

func TestNobodyAnswers(t *testing.T) {
	err := NewUnixClient(filepath.Join(t.TempDir(), "none")).Call(t.Context(), "GET", "/", nil, nil)
	if !errors.Is(err, ErrConnect) || !errors.Is(err, syscall.ENOENT) {
		t.Errorf("got %v", err)
	}
}
