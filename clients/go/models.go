package dsmstt

import (
	"context"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	speechv1 "github.com/dsm-stt/dsm-stt/clients/go/gen/dsm_stt/speech/v1"
)

// Model is what a service can be asked for.
type Model struct {
	Name          string
	LanguageCodes []string
	// Delay is the time between a sound and its word.
	Delay time.Duration
	// PauseHorizons is empty for models without pause heads.
	PauseHorizons []time.Duration
	// Default marks the model of a config that names none.
	Default bool
	// Trained is false for seeded weights that never saw speech.
	Trained    bool
	SlotsTotal int
	SlotsFree  int
}

// ListModels asks which models are served now.
func (c *Client) ListModels(ctx context.Context) ([]Model, error) {
	id := newRequestID()
	var response *speechv1.ListModelsResponse
	err := c.retrying(ctx, id, func() (err error) {
		response, err = c.stub.ListModels(c.outgoing(ctx, id), &speechv1.ListModelsRequest{})
		return err
	})
	if err != nil {
		return nil, err
	}
	models := make([]Model, 0, len(response.GetModels()))
	for _, model := range response.GetModels() {
		models = append(models, Model{
			Name:          model.GetName(),
			LanguageCodes: model.GetLanguageCodes(),
			Delay:         model.GetDelay().AsDuration(),
			PauseHorizons: durations(model.GetPauseHorizons()),
			Default:       model.GetIsDefault(),
			Trained:       model.GetTrained(),
			SlotsTotal:    int(model.GetSlotsTotal()),
			SlotsFree:     int(model.GetSlotsFree()),
		})
	}
	return models, nil
}

func durations(messages []*durationpb.Duration) []time.Duration {
	var values []time.Duration
	for _, message := range messages {
		values = append(values, message.AsDuration())
	}
	return values
}
