// Package optimizer makes steps of gradients: AdamW, Adafactor and Muon, as
// functions that add nodes to a GoMLX graph. Nothing is kept here. A parameter's
// state goes in with it and comes out beside it, so what holds it, stores it or
// spreads it over devices is the caller's business.
//
// All numbers are float32. θ is a parameter's value, g its gradient, t the step
// from 1 on, γ the rate (the schedule's times the parameter's factor) and λ the
// parameter's weight decay, which is decoupled everywhere (Loshchilov and
// Hutter, "Decoupled Weight Decay Regularization", arXiv:1711.05101): θ is first
// multiplied by 1 − γλ, and λ never enters the gradient. Each optimiser gives
// the numbers of torch.optim's of the same name.
//
// # AdamW
//
// Kingma and Ba, "Adam", arXiv:1412.6980, algorithm 1, with the decay of
// arXiv:1711.05101, algorithm 2:
//
//	m ← β₁m + (1−β₁)g
//	v ← β₂v + (1−β₂)g²
//	θ ← (1−γλ)θ − γ/(1−β₁ᵗ) · m / (√v/√(1−β₂ᵗ) + ε)
//
// # Adafactor
//
// Shazeer and Stern, "Adafactor", arXiv:1804.04235, algorithms 4 and 5 (no first
// moment). A matrix's second moments are kept as means R of its rows and C of
// its columns, whose product over the mean of R stands for them:
//
//	β ← 1 − t^−0.8
//	R ← βR + (1−β) mean over columns of g²
//	C ← βC + (1−β) mean over rows of g²
//	V = R·C / max(mean(R), ε₁);  of a vector V ← βV + (1−β)g²
//	U = g / √max(V, ε₁²)
//	α = max(ε₂, rms(θ)) · min(γ, 1/√t)
//	θ ← (1−γλ)θ − α · U / max(1, rms(U)/d)
//
// with ε₁ = 2⁻²³, ε₂ = 10⁻³ and d = 1: torch.optim.Adafactor's reading, in which
// the rate is relative to the size of the weights and ε₁ bounds the moments
// from below instead of being added to g². Of tensors with more axes the last
// two are the matrix. One row or one column is a vector.
//
// # Muon
//
// Jordan et al., "Muon: An optimizer for hidden layers in neural networks"
// (kellerjordan.github.io/posts/muon, 2024), for matrices of hidden layers only.
// The momentum's singular values are driven towards 1 by five Newton–Schulz
// steps, which makes the step about as large in every direction:
//
//	M ← μM + (1−μ)g
//	X = (1−μ)g + μM                        Nesterov's look ahead
//	X ← X / max(‖X‖, 10⁻⁷)                 Frobenius' norm
//	X ← aX + (bA + cA²)X, A = XXᵀ          five times
//	θ ← (1−γλ)θ − γ√max(1, rows/columns) · X
//
// with (a, b, c) = (3.4445, −4.7750, 2.0315). Rows are outputs, as checkpoints
// have them; A is formed on the shorter side. X is bfloat16 as its authors have
// it: products are summed in float32, and A, bA + cA² and X are rounded once. A
// hidden layer's matrix is a tensor with two axes, both longer than 1, whose
// name has a layer's number as one of its parts ("layers.3.mlp.up_proj.weight").
// All the rest, which is norms, biases, embeddings and heads, is AdamW's, at the
// rate γ·adamw_lr/lr.
//
// The iteration takes 10m²(2n+m) operations for a matrix of m × n, m ≤ n: 1.5
// TFLOP a step for Gemma 3 270M, which is what training on 900 tokens takes. It
// is cheap beside large batches only, and out of reach of GoMLX's Go backend,
// which takes 7.5 s for a matrix of 640 × 2048 on two cores, where XLA takes 49
// ms and AdamW 12 ms on either.
//
// # Memory
//
// State beside the value and the gradient of a parameter with n numbers, and of
// all of Gemma 3 270M, whose weights are 1072 MB:
//
//	AdamW      8n bytes                                           2145 MB
//	Adafactor  4(r+c) bytes for a matrix r × c, 4n for a vector      2 MB
//	Muon       4n bytes for a hidden matrix, 8n for all the rest  1744 MB
//
// of which 1342 MB are AdamW's for the embeddings, two thirds of that model. A
// parameter whose rate is 0 is frozen and has no state.
package optimizer
