package admin

import (
	"encoding"
	"encoding/json"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"

	"forebay/router"
	"forebay/router/auth"
	"forebay/shipper"
	"forebay/shipper/session/header"
	"forebay/wal"
)

var update = flag.Bool("update", false, "write the schemas of openapi.yaml from the Go types")

const schemasAt = "  # Below: written by go test ./node/admin -run TestOpenAPI -update, from the Go types.\n  schemas:\n"

// roots are the types of bodies, by the name that openapi.yaml has for them.
// Types within them are found by themselves.
var roots = map[string]any{
	"Alive": alive{}, "Readiness": readiness{}, "Status": Status{}, "History": History{}, "LogLine": RawJSON{}, "Problem": Problem{},
	"Cursor": shipper.Status{}, "Moved": shipper.Moved{}, "RewindReply": RewindReply{}, "RewindRequest": RewindRequest{}, "PauseRequest": PauseRequest{},
	"AuditState": AuditState{}, "AuditRequest": AuditRequest{}, "AuditReport": shipper.AuditReport{}, "WatchRequest": WatchRequest{}, "Watch": Watch{},
	"Command": Command{}, "DeadLetter": shipper.DeadLetter{}, "DeadRequest": DeadRequest{}, "DeadReply": DeadReply{}, "TrailEntry": shipper.TrailEntry{},
	"ReloadReply": ReloadReply{}, "SegmentInfo": wal.SegmentInfo{}, "Report": wal.Report{}, "VerifyProgress": VerifyProgress{}, "Event": Event{},
	"Replay": shipper.Replay{}, "ReplayReply": ReplayReply{}, "ReplayRequest": ReplayRequest{}, "DrainRequest": DrainRequest{}, "UndoRequest": UndoRequest{},
	"KeyRequest": KeyRequest{}, "KnownKey": KnownKey{}, "Doubt": auth.Doubt{},
	"Trace": Trace{}, "PrivacyReport": PrivacyReport{}, "NodeStatus": NodeStatus{}, "Drop": router.Drop{}, "Missed": Missed{}, "DropGroups": DropGroups{}, "Range": shipper.Range{}, "GapRange": header.Range{},
}

// TestOpenAPI holds openapi.yaml to the handlers: the same routes in both, and
// schemas that are the Go types'. -update writes the schemas.
func TestOpenAPI(t *testing.T) {
	text, err := os.ReadFile("openapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	head, have, found := strings.Cut(string(text), schemasAt)
	if !found {
		t.Fatalf("openapi.yaml lacks the line\n%s", schemasAt)
	}
	want := schemas(t)
	if *update {
		if err := os.WriteFile("openapi.yaml", []byte(head+schemasAt+want), 0o644); err != nil {
			t.Fatal(err)
		}
		have = want
	}
	if have != want {
		t.Error("the schemas of openapi.yaml are out of date; run: go test ./node/admin -run TestOpenAPI -update")
	}
	var spec struct {
		Paths map[string]map[string]struct {
			OperationID string         `yaml:"operationId"`
			Summary     string         `yaml:"summary"`
			Responses   map[string]any `yaml:"responses"`
		} `yaml:"paths"`
	}
	if err := yaml.Unmarshal([]byte(head+schemasAt+want), &spec); err != nil {
		t.Fatal(err)
	}
	var inSpec []string
	ids := map[string]bool{}
	for path, methods := range spec.Paths {
		for method, operation := range methods {
			inSpec = append(inSpec, strings.ToUpper(method)+" "+path)
			if operation.OperationID == "" || operation.Summary == "" || ids[operation.OperationID] || operation.Responses["200"] == nil {
				t.Errorf("%s %s needs an operationId of its own, a summary and a 200", method, path)
			}
			ids[operation.OperationID] = true
		}
	}
	slices.Sort(inSpec)
	if routed := routes(t); !slices.Equal(routed, inSpec) {
		t.Errorf("openapi.yaml and the handlers differ\nin openapi.yaml: %v\nhandled:         %v", inSpec, routed)
	}
	for _, m := range regexp.MustCompile(`#/components/schemas/(\w+)`).FindAllStringSubmatch(head, -1) {
		if !strings.Contains(want, "\n    "+m[1]+":") && !strings.HasPrefix(want, "    "+m[1]+":") {
			t.Errorf("openapi.yaml refers to %s, which is no schema: name its Go type in roots", m[1])
		}
	}
}

// routes are those that the handler is made of: every call that adds one.
func routes(t *testing.T) (all []string) {
	t.Helper()
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	methods := []string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete}
	param := regexp.MustCompile(`[:*](\w+)`)
	add := func(call *ast.CallExpr) {
		f, ok := call.Fun.(*ast.SelectorExpr)
		if !ok {
			return
		}
		method, args := f.Sel.Name, call.Args
		if method == "Handler" && len(args) == 3 { // only /metrics, which is read
			method, args = http.MethodGet, args[1:]
		}
		if !slices.Contains(methods, method) || len(args) != 2 {
			return
		}
		path, ok := args[0].(*ast.BasicLit)
		if !ok {
			t.Fatalf("a route's path is not a literal, so that it cannot be held to openapi.yaml")
		}
		text, err := strconv.Unquote(path.Value)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, method+" "+param.ReplaceAllString(text, "{$1}"))
	}
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(parsed, func(n ast.Node) bool {
			if call, ok := n.(*ast.CallExpr); ok {
				add(call)
			}
			return true
		})
	}
	slices.Sort(all)
	if len(all) < 20 {
		t.Fatalf("only %d routes were found: %v", len(all), all)
	}
	return all
}

// TestEveryRouteIsGuarded: with a token, nothing but the probes and the console's
// files, which hold no data, answers who does not know it, and every answer tells browsers to load nothing.
func TestEveryRouteIsGuarded(t *testing.T) {
	h := NewHandler(Options{Token: func() string { return "secret" }, Metrics: http.NotFoundHandler(), Node: noNode{}})
	for _, route := range routes(t) {
		method, path, _ := strings.Cut(route, " ")
		open := path == "/healthz" || path == "/readyz" || path == "/metrics" ||
			path == "/" || path == "/console/{file}"
		for _, header := range []string{"", "Bearer wrong", "secret", "Bearer secret2"} {
			r := httptest.NewRequest(method, strings.ReplaceAll(path, "{name}", "archive"), strings.NewReader("{}"))
			if header != "" {
				r.Header.Set("Authorization", header)
			}
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			if !open && w.Code != http.StatusUnauthorized {
				t.Errorf("%s with Authorization %q: %d, want 401", route, header, w.Code)
			}
			if csp := w.Header().Get("Content-Security-Policy"); !strings.Contains(csp, "default-src 'none'") || !strings.Contains(csp, "frame-ancestors 'none'") {
				t.Errorf("%s: Content-Security-Policy %q", route, csp)
			}
			if w.Header().Get("X-Content-Type-Options") != "nosniff" {
				t.Errorf("%s: a browser may guess what the answer is", route)
			}
		}
	}
}

// noNode has nothing to show.
type noNode struct{ Node }

func (noNode) Checks() []Check { return nil }

// TestBrokenAnswerIsNotTakenForWhole: lines that end with an error end with a
// broken connection, over HTTP and within the process.
func TestBrokenAnswerIsNotTakenForWhole(t *testing.T) {
	a := &api{}
	a.Logger = slog.New(slog.DiscardHandler)
	broken := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a.lines(w, r, func(line func(any) error) error {
			if err := line(map[string]int{"n": 1}); err != nil {
				return err
			}
			return io.ErrNoProgress
		})
	})
	server := httptest.NewServer(broken)
	defer server.Close()
	for name, c := range map[string]*Client{"HTTP": NewClient(strings.TrimPrefix(server.URL, "http://"), ""), "in the process": InProcess(broken)} {
		seen := 0
		err := eachLine(t.Context(), c, "/", func(map[string]int) error { seen++; return nil })
		if err == nil || seen != 1 {
			t.Errorf("%s: %d lines, error %v; want 1 and an error", name, seen, err)
		}
	}
}

// schemas are the components of the types, as YAML.
func schemas(t *testing.T) string {
	names := map[reflect.Type]string{}
	for name, v := range roots {
		names[reflect.TypeOf(v)] = name
	}
	done := map[string]string{}
	queue := slices.Collect(maps.Keys(names))
	for len(queue) > 0 {
		typ := queue[0]
		queue = queue[1:]
		name := names[typ]
		if done[name] != "" {
			continue
		}
		done[name] = schemaOf(typ, func(inner reflect.Type) string {
			if names[inner] == "" {
				name := inner.Name()
				for other, taken := range names {
					if taken == name && other != inner {
						t.Fatalf("%s and %s have one name: give one of them a name in roots", other, inner)
					}
				}
				names[inner] = name
				queue = append(queue, inner)
			}
			return names[inner]
		})
	}
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(done)) {
		fmt.Fprintf(&b, "    %s:%s", name, done[name])
	}
	return b.String()
}

// schemaOf describes a type; named tells what a struct within it is called.
func schemaOf(typ reflect.Type, named func(reflect.Type) string) string {
	if typ.Kind() != reflect.Struct {
		return " " + inline(typ, named) + "\n"
	}
	type member struct {
		name, schema string
		required     bool
	}
	var members []member
	for _, f := range reflect.VisibleFields(typ) {
		tag := f.Tag.Get("json")
		name, options, _ := strings.Cut(tag, ",")
		if f.Anonymous && tag == "" || !f.IsExported() || name == "-" {
			continue
		}
		if name == "" {
			name = f.Name
		}
		optional := strings.Contains(options, "omitempty") || strings.Contains(options, "omitzero")
		members = append(members, member{name, inline(f.Type, named), !optional})
	}
	var b strings.Builder
	b.WriteString("\n      type: object\n")
	var required []string
	for _, m := range members {
		if m.required {
			required = append(required, m.name)
		}
	}
	if len(required) > 0 {
		fmt.Fprintf(&b, "      required: [%s]\n", strings.Join(required, ", "))
	}
	b.WriteString("      properties:\n")
	for _, m := range members {
		fmt.Fprintf(&b, "        %s: %s\n", m.name, m.schema)
	}
	return b.String()
}

// inline is the schema of a value in one line.
func inline(typ reflect.Type, named func(reflect.Type) string) string {
	switch typ {
	case reflect.TypeFor[time.Time]():
		return "{type: string, format: date-time}"
	case reflect.TypeFor[Duration]():
		return `{type: string, examples: ["2h"]}`
	case reflect.TypeFor[RawJSON](), reflect.TypeFor[json.RawMessage]():
		return "{description: any JSON}"
	}
	if typ.Kind() == reflect.Pointer {
		return inline(typ.Elem(), named)
	}
	if typ.Implements(reflect.TypeFor[encoding.TextMarshaler]()) || reflect.PointerTo(typ).Implements(reflect.TypeFor[encoding.TextMarshaler]()) {
		return "{type: string}"
	}
	if typ.Implements(reflect.TypeFor[json.Marshaler]()) {
		return "{description: any JSON}"
	}
	switch typ.Kind() {
	case reflect.Bool:
		return "{type: boolean}"
	case reflect.String:
		return "{type: string}"
	case reflect.Float32, reflect.Float64:
		return "{type: number}"
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return "{type: integer}"
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return "{type: integer, minimum: 0}"
	case reflect.Slice, reflect.Array:
		if typ.Elem().Kind() == reflect.Uint8 {
			return "{type: string, contentEncoding: base64}"
		}
		return "{type: array, items: " + inline(typ.Elem(), named) + "}"
	case reflect.Map:
		return "{type: object, additionalProperties: " + inline(typ.Elem(), named) + "}"
	case reflect.Struct:
		return "{$ref: '#/components/schemas/" + named(typ) + "'}"
	}
	return "{description: any JSON}"
}
