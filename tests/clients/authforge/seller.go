// A seller's server, as AuthForge's guide for integrations shows one in Go. Prints the keys that it made, one a line.
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
)

// License holds what the program reads of a license.
type License struct {
	LicenseKey   string  `json:"licenseKey"`
	Status       string  `json:"status"`
	ExpiresAt    *string `json:"expiresAt"`
	MaxHwidSlots int     `json:"maxHwidSlots"`
}

func createLicense(appID string, quantity int) ([]License, error) {
	body, _ := json.Marshal(map[string]interface{}{"appId": appID, "quantity": quantity})
	req, _ := http.NewRequest("POST", os.Getenv("BASE_URL")+"/v1/licenses", bytes.NewReader(body))
	req.Header.Set("Authorization", "Bearer "+os.Getenv("AUTHFORGE_API_KEY"))
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	var result struct {
		Licenses []License `json:"licenses"`
	}
	json.NewDecoder(resp.Body).Decode(&result)
	return result.Licenses, nil
}

func main() {
	licenses, err := createLicense(os.Getenv("APP_ID"), 2)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	for _, license := range licenses {
		fmt.Println(license.LicenseKey, license.Status, license.ExpiresAt == nil, license.MaxHwidSlots)
	}
}
