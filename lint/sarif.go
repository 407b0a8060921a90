package lint

import (
	"io"
	"net/url"
	"strings"
)

// The parts of SARIF 2.1.0 (OASIS) that a report needs; numbers are sections of it.
type (
	sarifLog struct { // 3.13
		Schema  string     `json:"$schema"`
		Version string     `json:"version"`
		Runs    []sarifRun `json:"runs"`
	}
	sarifRun struct { // 3.14
		Tool               sarifTool                `json:"tool"`
		OriginalURIBaseIDs map[string]sarifArtifact `json:"originalUriBaseIds,omitempty"`
		Results            []sarifResult            `json:"results"`
		ColumnKind         string                   `json:"columnKind"`
	}
	sarifTool struct { // 3.18
		Driver sarifDriver `json:"driver"`
	}
	sarifDriver struct { // 3.19
		Name           string      `json:"name"`
		Version        string      `json:"version,omitempty"`
		InformationURI string      `json:"informationUri"`
		Rules          []sarifRule `json:"rules"`
	}
	sarifRule struct { // 3.49
		ID               string            `json:"id"`
		Name             string            `json:"name"`
		ShortDescription sarifMessage      `json:"shortDescription"`
		FullDescription  sarifMessage      `json:"fullDescription"`
		Help             sarifMessage      `json:"help"`
		Default          sarifDefault      `json:"defaultConfiguration"`
		Properties       map[string]string `json:"properties"`
	}
	sarifDefault struct {
		Level string `json:"level"`
	}
	sarifMessage struct {
		Text string `json:"text"`
	}
	sarifResult struct { // 3.27
		RuleID              string             `json:"ruleId"`
		RuleIndex           int                `json:"ruleIndex"`
		Level               string             `json:"level"`
		Message             sarifMessage       `json:"message"`
		Locations           []sarifLocation    `json:"locations"`
		PartialFingerprints map[string]string  `json:"partialFingerprints"`
		Suppressions        []sarifSuppression `json:"suppressions,omitempty"`
		Properties          map[string]any     `json:"properties"`
	}
	sarifSuppression struct { // 3.35
		Kind          string `json:"kind"`
		Justification string `json:"justification,omitempty"`
	}
	sarifLocation struct { // 3.28
		Physical *sarifPhysical `json:"physicalLocation,omitempty"`
		Logical  []sarifLogical `json:"logicalLocations,omitempty"`
	}
	sarifPhysical struct { // 3.29
		Artifact sarifArtifact `json:"artifactLocation"`
		Region   *sarifRegion  `json:"region,omitempty"`
	}
	sarifArtifact struct { // 3.4
		URI       string        `json:"uri,omitempty"`
		URIBaseID string        `json:"uriBaseId,omitempty"`
		Desc      *sarifMessage `json:"description,omitempty"`
	}
	sarifRegion struct { // 3.30
		StartLine int `json:"startLine"`
	}
	sarifLogical struct { // 3.33
		FullyQualifiedName string `json:"fullyQualifiedName"`
		Kind               string `json:"kind"`
	}
)

// sarifLevels are SARIF's names of severities (3.27.10).
var sarifLevels = map[Severity]string{Info: "note", Warning: "warning", Error: "error"}

// srcRoot is the root of the source tree, which whoever reads the log knows.
const srcRoot = "SRCROOT"

// WriteSARIF writes the report as a SARIF 2.1.0 log. Ignored findings are there as
// suppressed results (3.35).
func (r Report) WriteSARIF(w io.Writer, version string, p Paths) error {
	driver := sarifDriver{Name: "cfbuild lint", Version: version, InformationURI: "https://github.com/cfbuild/cfbuild/blob/main/docs/lint.md"}
	index := map[string]int{}
	for i, rule := range Rules() {
		index[rule.ID] = i
		driver.Rules = append(driver.Rules, sarifRule{ID: rule.ID, Name: rule.Name, ShortDescription: sarifMessage{rule.Says},
			FullDescription: sarifMessage{rule.Says + " Source: " + rule.Source + "."}, Help: sarifMessage{rule.Fix},
			Default: sarifDefault{sarifLevels[rule.Severity]}, Properties: map[string]string{"source": rule.Source}})
	}
	run := sarifRun{Tool: sarifTool{driver}, Results: []sarifResult{}, ColumnKind: "unicodeCodePoints",
		OriginalURIBaseIDs: map[string]sarifArtifact{srcRoot: {Desc: &sarifMessage{"The root of the source tree."}}}}
	for _, f := range r.Findings {
		run.Results = append(run.Results, f.sarif(index, p))
	}
	for _, i := range r.Ignored {
		s := i.sarif(index, p)
		s.Suppressions = []sarifSuppression{{Kind: "external", Justification: or(i.By.Why, i.By.From)}}
		run.Results = append(run.Results, s)
	}
	return writeJSON(w, sarifLog{Schema: "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json",
		Version: "2.1.0", Runs: []sarifRun{run}})
}

func (f Finding) sarif(index map[string]int, p Paths) sarifResult {
	out := sarifResult{RuleID: f.Rule, RuleIndex: index[f.Rule], Level: sarifLevels[f.Severity],
		Message: sarifMessage{f.Image + ": " + f.Message + " (" + f.Fix + ")"}, PartialFingerprints: map[string]string{"cfbuild/v1": f.Fingerprint},
		Properties: map[string]any{"image": f.Image, "subject": f.Subject}}
	if len(f.Platforms) > 0 {
		out.Properties["platforms"] = f.Platforms
	}
	for k, v := range map[string]string{"step": f.Step, "layer": f.Layer} {
		if v != "" {
			out.Properties[k] = v
		}
	}
	var at sarifLocation
	if f.Where.File != "" {
		uri := (&url.URL{Path: strings.TrimPrefix(p.relative(f.Where), "/")}).String()
		at.Physical = &sarifPhysical{Artifact: sarifArtifact{URI: strings.TrimPrefix(uri, "./"), URIBaseID: srcRoot}}
		if f.Where.Line > 0 {
			at.Physical.Region = &sarifRegion{f.Where.Line}
		}
	}
	kind := "member"
	if f.Path != "" {
		kind = "resource"
	}
	at.Logical = []sarifLogical{{FullyQualifiedName: f.Image + ":" + f.Subject, Kind: kind}}
	out.Locations = []sarifLocation{at}
	return out
}
