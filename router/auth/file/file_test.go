package file_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"pgregory.net/rapid"

	"forebay/router/auth"
	"forebay/router/auth/file"
)

const (
	digestA = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	digestB = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
)

func TestParseReadsYAMLAndJSON(t *testing.T) {
	for name, text := range map[string]string{
		"yaml": "# shop\n- project: shop\n  key_sha256: \"" + digestA + "\"\n  requests_per_second: 10.5\n  burst: 20\n  strict: true\n  origins: [\"https://a.example\"]\n  expires_at: 2027-01-01T00:00:00Z\n  revoked_at: 2026-01-01T00:00:00+01:00\n",
		"flow": "- {project: shop, key_sha256: " + digestA + ", requests_per_second: 10.5, burst: 20, strict: true, origins: [https://a.example], expires_at: 2027-01-01T00:00:00Z, revoked_at: 2025-12-31T23:00:00Z}",
		"json": `[{"project":"shop","key_sha256":"` + strings.ToUpper(digestA) + `","requests_per_second":10.5,"burst":20,"strict":true,"origins":["https://a.example"],"expires_at":"2027-01-01T00:00:00Z","revoked_at":"2025-12-31T23:00:00Z"}]`,
	} {
		keys, err := file.Parse([]byte(text))
		if err != nil || len(keys) != 1 {
			t.Fatalf("%s: %d keys, %v", name, len(keys), err)
		}
		k := keys[0]
		if k.ID != digestA[:12] || k.Digest.String() != digestA || k.Project != "shop" || k.RequestsPerSecond != 10.5 || k.Burst != 20 ||
			!k.Strict || len(k.Origins) != 1 || k.Origins[0] != "https://a.example" ||
			!k.ExpiresAt.Equal(time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)) || !k.RevokedAt.Equal(time.Date(2025, 12, 31, 23, 0, 0, 0, time.UTC)) {
			t.Errorf("%s: read as %+v", name, k)
		}
	}
	for _, empty := range []string{"null", "", "\n", "# nothing yet\n", "[]", "---\n"} {
		if keys, err := file.Parse([]byte(empty)); err != nil || len(keys) != 0 {
			t.Errorf("Parse(%q) = %v, %v; want no keys", empty, keys, err)
		}
	}
}

func TestParseNamesWhatIsWrong(t *testing.T) {
	good := "- project: shop\n  key_sha256: " + digestA + "\n"
	for text, want := range map[string]string{
		"- projct: shop\n":                     `line 1: unknown field "projct"; want one of project, key_sha256, `,
		good + "  key_sha25: x\n":              `line 3: unknown field "key_sha25"; want one of project, key_sha256, `,
		good + "  expires: x\n":                "expires_at, ",
		"project: shop\n":                      "line 1: this is no list; a key file is a list of",
		"- project: [\n":                       "line 1: ",
		"- project: shop\n":                    `entry 1 (project "shop"): key_sha256 is missing`,
		"- key_sha256: " + digestA + "\n":      "project is missing",
		"- project: shop\n  key_sha256: abc\n": "64 hex digits, not 3",
		"- project: shop\n  key_sha256: " + strings.Repeat("x", 64): "written in hex digits",
		good + good:                             "entry 2 has the key_sha256 of entry 1",
		good + "---\n" + good:                   "line 4: a second YAML document",
		good + "  burst: 1.5\n":                 `burst is "1.5", must be a whole number`,
		good + "  burst: -1\n":                  "burst is -1",
		good + "  burst: 1e99\n":                `burst is "1e99", must be a whole number`,
		good + "  burst: .nan\n":                `burst is ".nan", must be a whole number`,
		good + "  requests_per_second: .nan\n":  `requests_per_second is ".nan", must be a number`,
		good + "  requests_per_second: .inf\n":  `requests_per_second is ".inf", must be a number`,
		good + "  requests_per_second: many\n":  `line 3: requests_per_second is "many", must be a number`,
		good + "  expires_at: tomorrow\n":       `expires_at is "tomorrow", must be a time like`,
		good + "  revoked_at: 2026-01-01\n":     `revoked_at is "2026-01-01", must be a time like`,
		good + "  origins: [shop.example]\n":    `origin "shop.example" must be scheme://host`,
		good + "  origins: [https://a.b/c]\n":   "without a path",
		good + "  strict: perhaps\n":            `line 3: strict is "perhaps", must be true or false`,
		"- \n":                                  "line 1: this entry has no fields",
		"- text\n":                              "line 1: this entry has no fields",
		good + "  burst: [1]\n":                 "line 3: burst must be a single value",
		good + "  origins: https://a.example\n": "line 3: origins must be a list of texts",
		good + "  origins: [[a]]\n":             "line 3: origins must be a list of texts",
		good + "  burst: 1\n  burst: 2\n":       "line 4: ",
		good + "  requests_per_second: NaN\n":   "requests_per_second is NaN",
		good + "  unknown: {}\n":                "unknown field",
		`{"project":"shop"}`:                    "line 1: this is no list",
		`[1]`:                                   "line 1: this entry has no fields",
		"[\n[]]":                                "line 2: this entry has no fields",
		"[{\"Project\":\"shop\"}]":              `line 1: unknown field "Project"; want one of project, `,
		"[\n{\"burst\":1,\n\"burst\":2}]":       "line 3: burst is there twice",
		`[{"burst":1.5}]`:                       `burst is "1.5", must be a whole number`,
		`[{"burst":"many"}]`:                    `burst is "many", must be a whole number`,
		`[{"strict":[true]}]`:                   "strict must be a single value",
		`[{"origins":{"a":1}}]`:                 "origins must be a list of texts",
		`[{"origins":[["a"]]}]`:                 "origins must be a list of texts",
		`[{"expires_at":"tomorrow","key_sha256":"` + digestA + `"}]`: `expires_at is "tomorrow"`,
		"# " + strings.Repeat("x", 8<<20):                            "write so many keys as JSON",
		"!!map " + good:                                              "has a special meaning in YAML",
		"- &a {project: *a}":                                         "has a special meaning in YAML",
		strings.Repeat("[", 1<<16):                                   "lists or fields within others",
		strings.Repeat("{a: ", 1<<16):                                "lists or fields within others",
		strings.Repeat("- ", 1<<16):                                  "lists or fields within others",
		strings.Repeat("a: ", 1<<16):                                 "lists or fields within others",
		strings.Repeat("? ", 1<<16):                                  "has a special meaning in YAML",
		strings.Repeat("#", file.MaxFileBytes+1):                     "than the 67108864 that a key file may have",
		strings.Replace(good, "shop", "''", 1):                       "project is missing",
		strings.Replace(good, "shop", `"\0"`, 1):                     "without control characters",
	} {
		keys, err := file.Parse([]byte(text))
		if err == nil {
			t.Errorf("Parse(%.200q) = %v, want an error", text, keys)
			continue
		}
		if got := err.Error(); !strings.Contains(got, want) || strings.Contains(got, "\n") {
			t.Errorf("Parse(%.200q):\n got %s\nwant %s", text, got, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("- project: shop\n  key_sha256: " + digestA + "\n  origins: [&a x, *a]\n"))
	f.Add([]byte(`[{"project":"a","key_sha256":"` + digestB + `"}]`))
	f.Fuzz(func(t *testing.T, text []byte) {
		keys, err := file.Parse(text)
		if err != nil {
			return
		}
		for _, key := range keys {
			if err := key.Validate(); err != nil {
				t.Fatalf("accepted a key that is not valid: %v", err)
			}
		}
	})
}

func TestStoreKeepsCommentsAndLayout(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys.yaml")
	before := "# our keys\n- project: shop # the old shop\n  key_sha256: " + digestA + "\n  origins:\n    - https://a.example\n\n# in one line\n- {project: blog, key_sha256: " + digestB + "}\n# the end\n"
	if err := os.WriteFile(path, []byte(before), 0o640); err != nil {
		t.Fatal(err)
	}
	store, ctx := file.NewStore(path), context.Background()
	for _, id := range []string{digestA[:12], digestB} {
		if key, err := store.Revoke(ctx, id); err != nil || key.RevokedAt.IsZero() {
			t.Fatalf("Revoke = %+v, %v", key, err)
		}
	}
	key := newKey("new")
	key.RequestsPerSecond, key.Burst, key.Strict, key.Origins = 5, 10, true, []string{"https://b.example"}
	if err := store.Create(ctx, key); err != nil {
		t.Fatal(err)
	}
	after, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"# our keys", "# the old shop", "# in one line", "# the end", "  revoked_at: 20", ", revoked_at: 20", "requests_per_second: 5\n", "burst: 10\n"} {
		if !strings.Contains(string(after), want) {
			t.Errorf("%q is not in the file:\n%s", want, after)
		}
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o640 {
		t.Errorf("mode %v, %v; want it kept", info.Mode(), err)
	}
	keys, err := store.List(ctx)
	if err != nil || len(keys) != 3 || keys[0].Active(time.Now()) || keys[1].Active(time.Now()) || !keys[2].Active(time.Now()) {
		t.Errorf("List = %+v, %v", keys, err)
	}
}

func TestStoreWorksOnEveryKindOfFile(t *testing.T) {
	for name, text := range map[string]*string{
		"absent": nil, "empty": ptr(""), "comment": ptr("# no newline"), "empty list": ptr("[]"), "start": ptr("---\n"),
		"json": ptr(`[{"project":"shop","key_sha256":"` + digestA + `","expires_at":"2999-01-01T00:00:00.5Z"}]`),
		"yaml": ptr("- key_sha256: " + digestA + "\n  expires_at: 2999-01-01T00:00:00.5Z # far\n  project: shop\n"),
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "keys")
			given := 0
			if text != nil {
				if err := os.WriteFile(path, []byte(*text), 0o644); err != nil {
					t.Fatal(err)
				}
				given = strings.Count(*text, "key_sha256")
			}
			store, ctx := file.NewStore(path), context.Background()
			key := newKey("new")
			if err := store.Create(ctx, key); err != nil {
				t.Fatal(err)
			}
			if err := store.Create(ctx, key); !errors.Is(err, auth.ErrKeyExists) {
				t.Fatalf("second Create = %v", err)
			}
			next := newKey("").Digest
			expiring, rotated, err := store.Rotate(ctx, key.ID, next, time.Hour)
			if err != nil || expiring.ExpiresAt.IsZero() || rotated.Project != "new" || rotated.Digest != next {
				t.Fatalf("Rotate = %+v, %+v, %v", expiring, rotated, err)
			}
			if _, err := store.Revoke(ctx, key.ID); err != nil {
				t.Fatal(err)
			}
			if _, _, err := store.Rotate(ctx, key.ID, newKey("").Digest, 0); !errors.Is(err, auth.ErrKeyInactive) {
				t.Fatalf("Rotate of a revoked key = %v", err)
			}
			if given > 0 {
				if _, _, err := store.Rotate(ctx, digestA[:12], newKey("").Digest, time.Hour); err != nil {
					t.Fatal(err)
				}
				given++
			}
			added, err := store.Import(ctx, []auth.Key{key, newKey("imported"), newKey("imported")})
			if err != nil || added != 2 {
				t.Fatalf("Import = %d, %v; want 2 new ones", added, err)
			}
			if keys, err := store.List(ctx); err != nil || len(keys) != given+4 {
				t.Fatalf("%d keys, %v; want %d", len(keys), err, given+4)
			}
		})
	}
}

// TestStoreKeepsEveryProjectName creates keys under names with everything in them
// that means something in YAML or JSON.
func TestStoreKeepsEveryProjectName(t *testing.T) {
	name := rapid.Custom(func(rt *rapid.T) string {
		runes := rapid.SliceOfN(rapid.OneOf(rapid.SampledFrom([]rune("#:-?&*!|>'\"%@`{}[], \\~=<0x1eENnul_.")), rapid.Rune()), 1, 20).Draw(rt, "runes")
		return string(slices.DeleteFunc(runes, func(r rune) bool { return unicode.IsControl(r) || !utf8.ValidRune(r) }))
	}).Filter(func(name string) bool { return name != "" })
	for _, start := range []string{"[]", "", "# ours\n- project: first\n  key_sha256: " + digestA + "\n"} {
		rapid.Check(t, func(rt *rapid.T) {
			path := filepath.Join(t.TempDir(), "keys")
			if err := os.WriteFile(path, []byte(start), 0o644); err != nil {
				rt.Fatal(err)
			}
			store, names := file.NewStore(path), rapid.SliceOfN(name, 1, 3).Draw(rt, "names")
			for _, name := range names {
				if err := store.Create(t.Context(), newKey(name)); err != nil {
					rt.Fatalf("Create for project %q: %v", name, err)
				}
			}
			keys, err := store.List(t.Context())
			if err != nil || len(keys) < len(names) {
				rt.Fatalf("List: %d keys, %v", len(keys), err)
			}
			for i, key := range keys[len(keys)-len(names):] {
				if key.Project != names[i] {
					rt.Fatalf("project %q reads as %q", names[i], key.Project)
				}
			}
		})
	}
}

func TestStoreRefusesWhatItCannotFind(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys.yaml")
	text := "- {project: a, key_sha256: " + digestA + "}\n- {project: a, key_sha256: " + digestA[:63] + "b}\n"
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	store, ctx := file.NewStore(path), context.Background()
	for reference, want := range map[string]error{digestB[:12]: auth.ErrKeyNotFound, digestA[:12]: auth.ErrKeyAmbiguous, digestA: nil} {
		if _, err := store.Revoke(ctx, reference); !errors.Is(err, want) {
			t.Errorf("Revoke(%s) = %v, want %v", reference, err, want)
		}
	}
	for _, reference := range []string{"", "abc", "zzzzzzzzzzzz", digestA + "a"} {
		if _, err := store.Revoke(ctx, reference); err == nil {
			t.Errorf("Revoke(%q) is accepted", reference)
		}
	}
}

func TestStoreChangesAtTheSameTimeAllCount(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys.yaml")
	var writers sync.WaitGroup
	for range 20 {
		writers.Go(func() {
			if err := file.NewStore(path).Create(context.Background(), newKey("shop")); err != nil {
				t.Error(err)
			}
		})
	}
	writers.Wait()
	if keys, err := file.NewStore(path).List(context.Background()); err != nil || len(keys) != 20 {
		t.Fatalf("%d keys, %v; want 20", len(keys), err)
	}
	left, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(left) != 1 {
		t.Fatalf("files left behind: %v, %v", left, err)
	}
}

// BenchmarkParse reads a hundred thousand keys, as an import does.
func BenchmarkParse(b *testing.B) {
	var text strings.Builder
	for i := range 100_000 {
		separator := ","
		if i == 0 {
			separator = "["
		}
		fmt.Fprintf(&text, `%s{"project":"shop","key_sha256":"%064x","burst":20,"origins":["https://a.example"]}`, separator, i+1)
	}
	text.WriteString("]")
	for b.Loop() {
		if keys, err := file.Parse([]byte(text.String())); err != nil || len(keys) != 100_000 {
			b.Fatal(len(keys), err)
		}
	}
}

func newKey(project string) auth.Key {
	_, digest := auth.Generate()
	return auth.Key{ID: digest.ID(), Digest: digest, Project: project}
}

func ptr(s string) *string { return &s }

func discard() *slog.Logger { return slog.New(slog.DiscardHandler) }
