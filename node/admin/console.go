package admin

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"io/fs"
	"net/http"
	"path"
	"time"

	"github.com/julienschmidt/httprouter"
)

// consoleFiles are the operators' page: what is in the folder is what the
// browser gets, nothing is built.
//
//go:embed console
var consoleFiles embed.FS

// contentTypes are those of the console's files, by the ends of their names.
// The system's own table may say otherwise.
var contentTypes = map[string]string{
	".html": "text/html; charset=utf-8",
	".css":  "text/css; charset=utf-8",
	".js":   "text/javascript; charset=utf-8",
	".svg":  "image/svg+xml",
}

// console answers with a file of the console. The files hold nothing of the
// node, so whoever reaches the listener may have them: the page itself asks
// for the token that the API wants.
func (a *api) console(w http.ResponseWriter, r *http.Request, p httprouter.Params) {
	name := p.ByName("file")
	if name == "" {
		name = "index.html"
	}
	text, err := fs.ReadFile(consoleFiles, "console/"+name)
	if err != nil {
		reply(w, http.StatusNotFound, Problem{Error: "the console has no such file"})
		return
	}
	sum := sha256.Sum256(text)
	h := w.Header()
	h.Set("Content-Type", contentTypes[path.Ext(name)])
	h.Set("Cache-Control", "no-cache") // ask each time, so that a new version's files never mix with an old one's
	h.Set("ETag", `"`+hex.EncodeToString(sum[:16])+`"`)
	http.ServeContent(w, r, name, time.Time{}, bytes.NewReader(text))
}
