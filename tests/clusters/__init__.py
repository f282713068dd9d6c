"""The files that start a cluster, against whoever will read them.

`ray.io_rayjobs.yaml.gz` is KubeRay's definition of a RayJob, unchanged but for gzip: github.com/ray-project/kuberay,
commit feeaf72fa, `helm-chart/kuberay-operator/crds/ray.io_rayjobs.yaml`, Apache-2.0.
"""
