"""Many questions in few forward passes: options of a question together, shared beginnings computed once.

Three ways in. `multiple_choice` scores options: a `question_prompts` text, as it is or as one of `chat_turns`, becomes
`question_tokens`, then `question_rows`, then `option_likelihoods`. `greedy_texts` and `content_tokens` let the model
write: `prompts`, then `continuations` with the `likeliest` tokens, over a `prefix_cache` and a `roomy_cache`; models
without such a cache go by `generate_calls`. `text_likelihoods` scores running text, cut into `windows`, by
the model room's `vocabulary_chunks`. All choose by `asked_records`, batch by `row_batches`, and project at
`scored_positions`.
"""
