# The commands of the user's document "Train CNNs with multiple sequence inputs", with `drg train` in the place of both scripts.
# Sizes are those of a test: fewer and narrower layers, two epochs. NAME of a command = what stands after --addname.
set -euo pipefail

input=TSS.npz # DNA input around the TSS
trinput=RNA.npz # Transcript input
output0=exonic.tsv
troutput0=intronic.tsv
deoutput0=degrad.tsv
classfile=condition.class.txt
cv=Exintron_testsetcv10.txt
fold=1

nk=6
lk=15
fps=4
ndp=3
dil='[1,2,4]'
lkc=5
ps=6
dc=4
fcls=12
nfc=3

basemodel=num_kernels=${nk}+l_kernels=${lk}+max_pooling=False+weighted_pooling=True+pooling_size=${fps}+net_function=GELU+dilated_convolutions=${ndp}+l_dilkernels=${lkc}+dilations=${dil}+transformer_convolutions=${dc}+l_trkernels=${lkc}+trweighted_pooling=${ps}+fclayer_size=${fcls}+nfc_layers=${nfc}
transmodel=num_kernels=${nk}+l_kernels=${lk}+max_pooling=False+weighted_pooling=True+pooling_size=${fps}+net_function=GELU+dilated_convolutions=${ndp}+l_dilkernels=${lkc}+dilations=${dil}+dilweighted_pooling=10+dilpooling_steps=3+n_attention=1+n_distattention=4+dim_distattention=1.8+transformer_convolutions=${dc}+l_trkernels=${lkc}+trweighted_pooling=4+fclayer_size=${fcls}+nfc_layers=${nfc}

bs=8
pat=10
lr=0.00001
opt=SGD+optim_params=0.9
device='cuda:0'
seed=1
outdir=Models/
training=conv_batch_norm=True+fc_dropout=0.1+lr=${lr}+patience=${pat}+batchsize=${bs}+optimizer=${opt}+device=${device}+keepmodel=True+seed=${seed}+finetuning_patience=3+finetuning_rounds=2+finetuning_rate=0.1+init_adjust=False+warm_up_epochs=4+epochs=2
trloss=Correlationmse

command_A() {
drg train $trinput $output0 --outdir $outdir --delimiter $'\t' --reverse_complement --crossvalidation $cv $fold 10 --cnn loss_function=${trloss}+validation_loss=Correlationdata+${basemodel}+${training} --split_outclasses $classfile --save_correlation_perclass --save_correlation_perpoint --addname $addname
}
command_A_attention() {
drg train $trinput $output0 --outdir $outdir --delimiter $'\t' --reverse_complement --crossvalidation $cv $fold 10 --cnn loss_function=${trloss}+validation_loss=Correlationdata+${transmodel}+${training} --split_outclasses $classfile --save_correlation_perclass --save_correlation_perpoint --addname $addname
}
command_B() {
drg train $input ${output0},${deoutput0},${troutput0} --outdir $outdir --delimiter $'\t' --reverse_complement --crossvalidation $cv $fold 10 --cnn loss_function=${trloss}+validation_loss="['Correlationdata','None','None']"+${basemodel}+${training} --split_outclasses $classfile --save_correlation_perclass --save_correlation_perpoint --add_fileclasses ex,kd,kt --addname $addname
}
command_C() {
drg train ${input},${trinput} ${output0} --outdir $outdir --delimiter $'\t' --reverse_complement True,False --crossvalidation $cv $fold 10 --cnn loss_function=${trloss}+validation_loss=Correlationdata+${basemodel}+${training} --split_outclasses $classfile --save_correlation_perclass --save_correlation_perpoint --addname $addname
}
command_D() {
drg train ${input},${trinput} ${output0},${deoutput0},${troutput0} --outdir $outdir --delimiter $'\t' --reverse_complement True,False --crossvalidation $cv $fold 10 --cnn loss_function=${trloss}+validation_loss="['Correlationdata','None','None']"+${basemodel}+input_to_combinefunc='[[0,1],[1],[0]]'+outclass="['difference','direct','direct']"+combine_function=Linear+${training}+shared_embedding=False --split_outclasses $classfile --save_correlation_perclass --save_correlation_perpoint --add_fileclasses ex,kd,kt --addname $addname
}
command_D_shared() {
drg train ${input},${trinput} ${output0},${deoutput0},${troutput0} --outdir $outdir --delimiter $'\t' --reverse_complement True,False --crossvalidation $cv $fold 10 --cnn loss_function=${trloss}+validation_loss="['Correlationdata','None','None']"+${basemodel}+input_to_combinefunc='[[0,1],[1],[0]]'+outclass="['difference','direct','direct']"+combine_function=Linear+shared_embedding=True+${training} --split_outclasses $classfile --save_correlation_perclass --save_correlation_perpoint --add_fileclasses ex,kd,kt --addname $addname
}
command_F() {
drg train ${input},${trinput} ${output0},${deoutput0},${troutput0} --outdir $outdir --delimiter $'\t' --reverse_complement True,False --crossvalidation $cv $fold 10 --cnn loss_function=${trloss}+validation_loss="['Correlationdata','None','None']"+${basemodel}+n_combine_layers=2+${training} --split_outclasses $classfile --save_correlation_perclass --save_correlation_perpoint --add_fileclasses ex,kd,kt --addname $addname
}
command_F_routed() {
drg train ${input},${trinput} ${output0},${deoutput0},${troutput0} --outdir $outdir --delimiter $'\t' --reverse_complement True,False --crossvalidation $cv $fold 10 --cnn loss_function=${trloss}+validation_loss="['Correlationdata','None','None']"+${basemodel}+input_to_combinefunc='[[0,1],[1],[0]]'+outclass=Linear+combine_function=GELU+n_combine_layers=2+${training} --split_outclasses $classfile --save_correlation_perclass --save_correlation_perpoint --add_fileclasses ex,kd,kt --addname $addname
}

addname=$1
command_$1
